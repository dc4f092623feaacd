// Convert: another container for the same numbers.
//
// A tensor is copied where the container can store its grid. Else it goes to a grid that says the
// same (grid/reexpress.h), and else, with --requantize, to the nearest by bits. Matrices at the
// model's ends (embedding, output) are plain numbers in files of Hugging Face's kind.

#include <algorithm>
#include <chrono>

#include "base/cancel.h"
#include "base/error.h"
#include "base/seconds.h"
#include "base/thread_pool.h"
#include "grid/grouped.h"
#include "grid/reexpress.h"
#include "halftone/quantize.h"
#include "method/round_rows.h"
#include "pipeline/exact_grid.h"
#include "pipeline/hf_documents.h"
#include "pipeline/presets.h"
#include "pipeline/rewrite.h"
#include "pipeline/source.h"

namespace halftone {
namespace {

constexpr int64_t kSlabWeights = int64_t{1} << 24;

// What becomes of a tensor's numbers.
enum class Fate : uint8_t { kKept, kReexpressed, kRounded };

struct ConvertPlan {
  RewritePlan rewrite;
  std::vector<Fate> fates;  // parallel to the jobs
};

// Whether the container holds nothing but numbers as they are.
bool HoldsOnlyPlain(const Container& container) {
  const auto stores = [&](const Grid* grid) { return !grid->plain && container.can_store(*grid); };
  return std::ranges::none_of(AllGrids(), stores) &&
         std::ranges::none_of(UsualGroupedGrids(), stores);
}

// Embedding and output: no checkpoint of Hugging Face's kind has them on few levels.
bool IsModelsEnd(const Source& source, const std::string& name) {
  if (source.architecture == nullptr) return false;
  const auto place = PlaceOf(*source.architecture, Dialect::kGguf, name);
  return place &&
         (place->role->role == Role::kTokenEmbedding || place->role->role == Role::kOutput);
}

class Planner {
 public:
  Planner(const std::string& input, const ConvertOptions& options) : options_(options) {
    rewrite_.source = std::make_shared<const Source>(OpenSource(input));
    rewrite_.container = &ChooseContainer(options.container, F32Grid());
    is_gguf_ = rewrite_.container->dialect == Dialect::kGguf;
    only_plain_ = HoldsOnlyPlain(*rewrite_.container);
  }

  ConvertPlan Make(ThreadPool& pool) {
    const Source& source = *rewrite_.source;
    for (const GgufTensor& t : source.tensors) {
      if (!HasPlace(source, t, rewrite_.container->dialect)) continue;
      Job job{&t, {t.tensor.grid, false, ""}, {}};
      fates_.push_back(Choose(t.tensor, job.choice, pool));
      source.checkpoint.GiveBackPages();
      rewrite_.jobs.push_back(std::move(job));
    }
    if (!is_gguf_) {
      ShareGroup(pool);
      NarrowVectors(pool);
    }
    ListTensors(rewrite_);
    CheckStorable(rewrite_);
    rewrite_.file.split_bytes = options_.split_bytes;
    rewrite_.file.metadata = source.metadata;
    NameFileType();
    rewrite_.file.documents = DocumentsFor(source, *rewrite_.container, rewrite_.file.tensors);
    return {std::move(rewrite_), std::move(fates_)};
  }

 private:
  bool IsVector(const Tensor& t) const { return t.shape.size() <= 1; }

  Fate Choose(const Tensor& t, TensorChoice& choice, ThreadPool& pool) {
    const Container& container = *rewrite_.container;
    // Norms, biases and factors are f32 in every GGUF file; widening them loses nothing.
    if (is_gguf_ && IsVector(t) && t.grid->plain && t.grid != &F32Grid() &&
        HoldsExactly(t, F32Grid(), pool)) {
      choice = {&F32Grid(), true, ""};
      return Fate::kKept;
    }
    const bool ordered = t.order != nullptr && !container.can_store_order;
    const bool end = !is_gguf_ && IsModelsEnd(*rewrite_.source, t.name);
    if (container.can_store(*t.grid) && !ordered && (!end || t.grid->plain)) return Fate::kKept;
    const bool to_plain = end || only_plain_ || IsVector(t) || t.grid->plain;
    const Tensor loaded = Loaded(t, pool);
    const Grid* exact = ExactGrid(
        container, loaded,
        [&](const Grid& grid) {
          // Who accepts rounding does not want numbers of four bits in 32.
          const bool wide = options_.requantize && !t.grid->plain && grid.bits_per_weight() > 16;
          return grid.plain == to_plain && !wide;
        },
        pool);
    if (exact != nullptr) {
      choice = {exact, true, exact->plain ? "decoded, exactly" : "the same codes and scales"};
      return exact->plain ? Fate::kKept : Fate::kReexpressed;
    }
    if (!options_.requantize) Refuse(t, ordered);
    choice = {&Nearest(t, to_plain), true, "rounded anew"};
    return Fate::kRounded;
  }

  [[noreturn]] void Refuse(const Tensor& t, bool ordered) const {
    if (ordered) {
      FailUsage(
          "container '{}' cannot keep the order of columns of tensor '{}'; --requantize rounds it "
          "anew",
          rewrite_.container->name, t.name);
    }
    FailUsage(
        "container '{}' cannot hold grid '{}' of tensor '{}' as it is, nor the same numbers "
        "otherwise; --requantize rounds it anew",
        rewrite_.container->name, t.grid->name, t.name);
  }

  // The writable grid that the container holds with the nearest bits per weight not below the
  // tensor's, or 16-bit numbers.
  const Grid& Nearest(const Tensor& t, bool to_plain) const {
    const Grid* best = nullptr;
    const auto consider = [&](const Grid* candidate) {
      if (!candidate->writable() || !rewrite_.container->can_store(*candidate) ||
          t.cols() % candidate->block != 0 || candidate->importance == Importance::kRequired ||
          candidate->bits_per_weight() < t.grid->bits_per_weight() ||
          (to_plain && !candidate->plain)) {
        return;
      }
      if (best == nullptr || candidate->bits_per_weight() < best->bits_per_weight()) {
        best = candidate;
      }
    };
    std::ranges::for_each(AllGrids(), consider);
    std::ranges::for_each(UsualGroupedGrids(), consider);
    if (best == nullptr) {
      FailUnsupported("container '{}' holds no grid that could replace '{}' of tensor '{}'",
                      rewrite_.container->name, t.grid->name, t.name);
    }
    return *best;
  }

  // Checkpoints of Hugging Face's kind have one size of groups for all layers, some by necessity:
  // the largest that all tensors can be re-expressed with.
  void ShareGroup(ThreadPool& pool) {
    int least = 0;
    for (size_t i = 0; i < fates_.size(); ++i) {
      const Grid& grid = *rewrite_.jobs[i].choice.grid;
      if (fates_[i] != Fate::kReexpressed || grid.grouped == nullptr) continue;
      const int group = grid.grouped->group;
      if (group > 0) least = least == 0 ? group : std::min(least, group);
    }
    if (least == 0) return;
    for (size_t i = 0; i < fates_.size(); ++i) {
      const Tensor& t = rewrite_.jobs[i].source->tensor;
      const Grid*& grid = rewrite_.jobs[i].choice.grid;
      if (fates_[i] != Fate::kReexpressed || grid->grouped == nullptr) continue;
      if (grid->grouped->group == least || t.cols() % least != 0) continue;
      const Grid& shared = WithGroup(*grid, least, t.cols());
      if (rewrite_.container->can_store(shared) && HoldsExactly(Loaded(t, pool), shared, pool)) {
        grid = &shared;
      }
    }
  }

  // The vectors of GGUF files are f32 whatever they were before. They go back to the type of the
  // plain matrices where that holds them. What GGUF widens follows in ListTensors.
  void NarrowVectors(ThreadPool& pool) {
    if (rewrite_.source->checkpoint.dialect != Dialect::kGguf) return;
    std::map<const Grid*, int64_t> weights;
    for (const Job& job : rewrite_.jobs) {
      if (!IsVector(job.source->tensor) && job.choice.grid->plain) {
        weights[job.choice.grid] += job.source->tensor.count();
      }
    }
    const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
    if (most == weights.end() || most->first == &F32Grid() || !most->first->writable()) return;
    for (Job& job : rewrite_.jobs) {
      const Tensor& t = job.source->tensor;
      const bool widened =
          PlaceInDialect(*rewrite_.source, *job.source, Dialect::kHuggingFace).widened;
      if (IsVector(t) && !widened && t.grid == &F32Grid() && HoldsExactly(t, *most->first, pool)) {
        job.choice = {most->first, true, ""};
      }
    }
  }

  // general.file_type of a file whose source did not say: the grid that most weights are on.
  void NameFileType() {
    Metadata& metadata = rewrite_.file.metadata;
    if (metadata.Find("general.file_type") != nullptr) return;
    const auto type = MostlyFileType(rewrite_);
    if (!type) return;
    metadata.Set("general.file_type", Value(*type));
    metadata.Set("general.quantization_version", Value(uint32_t{2}));
  }

  const ConvertOptions& options_;
  RewritePlan rewrite_;
  std::vector<Fate> fates_;
  bool is_gguf_ = false;
  bool only_plain_ = false;
};

// Writes one tensor slab by slab; what its numbers become is added to `sum`.
void WriteTensor(const RewritePlan& plan, const Job& job, Fate fate, ThreadPool& pool,
                 RewriteWriter& writer, ChangeSum& sum) {
  const Grid& grid = *job.choice.grid;
  GgufTensor source = *job.source;
  source.tensor = Loaded(job.source->tensor, pool);
  const Tensor& t = source.tensor;
  const int64_t cols = t.cols(), rows = t.rows();
  const int64_t slab = std::max<int64_t>(1, kSlabWeights / std::max<int64_t>(1, cols));
  std::vector<float> values;
  std::vector<uint8_t> blocks;
  for (int64_t r = 0; r < rows; r += slab) {
    const int64_t count = std::min(slab, rows - r);
    values.resize(static_cast<size_t>(count * cols));
    blocks.resize(static_cast<uint64_t>(count) * grid.RowBytes(cols));
    DecodeRows(*plan.source, source, r, r + count, pool, values.data());
    if (fate == Fate::kReexpressed) {
      pool.For(count, [&](int64_t i, int) {
        Reexpress(*t.grid, grid, RowInOrder(source, r + i), cols,
                  blocks.data() + static_cast<uint64_t>(i) * grid.RowBytes(cols));
      });
    } else {
      RoundRows(values, count, cols, {}, grid, pool, blocks.data());
    }
    sum.Add(values, count, cols, grid, blocks, pool);
    writer.Append(blocks, r + count == rows);
  }
}

// The squares of a tensor's weights.
void AddWeights(const Source& source, const GgufTensor& tensor, ThreadPool& pool, ChangeSum& sum) {
  GgufTensor loaded = tensor;
  loaded.tensor = Loaded(tensor.tensor, pool);
  const int64_t cols = loaded.tensor.cols(), rows = loaded.tensor.rows();
  const int64_t slab = std::max<int64_t>(1, kSlabWeights / std::max<int64_t>(1, cols));
  std::vector<float> values;
  for (int64_t r = 0; r < rows; r += slab) {
    const int64_t count = std::min(slab, rows - r);
    values.resize(static_cast<size_t>(count * cols));
    DecodeRows(source, loaded, r, r + count, pool, values.data());
    for (const float value : values) sum.weight += static_cast<double>(value) * value;
    source.checkpoint.GiveBackPages();
  }
}

// How much all weights have changed, given what the rewritten ones have.
void SumUp(const ConvertPlan& plan, ChangeSum all, ThreadPool& pool, ConvertReport& report) {
  for (const Fate fate : plan.fates) {
    report.exact += fate == Fate::kKept;
    report.reexpressed += fate == Fate::kReexpressed;
    report.rounded += fate == Fate::kRounded;
  }
  if (all.change == 0) return;
  for (const Job& job : plan.rewrite.jobs) {
    if (!job.choice.quantize) AddWeights(*plan.rewrite.source, *job.source, pool, all);
  }
  report.relative_change = all.Relative();
}

ConvertReport ConvertNow(const std::string& input, const std::string& output,
                         const ConvertOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  ThreadPool pool(options.threads, options.progress);
  const ConvertPlan plan = Planner(input, options).Make(pool);
  const RewritePlan& rewrite = plan.rewrite;
  CheckOutput(input, output, rewrite);
  ConvertReport report{MakeReport(rewrite, output)};
  RewriteWriter writer(rewrite, output, options.progress);
  Progress* progress = options.progress;
  if (progress) {
    progress->Begin("convert to " + std::string(rewrite.container->name),
                    rewrite.source->parameters);
  }
  int64_t done = 0;
  ChangeSum all;
  for (size_t i = 0; i < rewrite.jobs.size(); ++i) {
    const Job& job = rewrite.jobs[i];
    CheckCancelled(progress);
    if (job.choice.quantize) {
      ChangeSum change;
      WriteTensor(rewrite, job, plan.fates[i], pool, writer, change);
      report.tensors[i].relative_error = change.Relative();
      all.weight += change.weight;
      all.change += change.change;
    }
    done += job.source->tensor.count();
    if (progress) progress->Advance(done);
  }
  writer.Commit();
  SumUp(plan, all, pool, report);
  if (progress) progress->End();
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace

ConvertReport Convert(const std::string& input, const std::string& output,
                      const ConvertOptions& options) {
  return NamingCancelled(output, [&] { return ConvertNow(input, output, options); });
}

}  // namespace halftone
