// Quantize and PlanQuantize: the one place where grid, method and container meet.

#include "halftone/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>

#include "base/cancel.h"
#include "base/error.h"
#include "base/seconds.h"
#include "base/thread_pool.h"
#include "calibration/imatrix_file.h"
#include "method/transform.h"
#include "model/fold.h"
#include "pipeline/allocate.h"
#include "pipeline/calibrate.h"
#include "pipeline/fingerprint.h"
#include "pipeline/hf_documents.h"
#include "pipeline/overlap.h"
#include "pipeline/plan_quantize.h"
#include "pipeline/presets.h"
#include "pipeline/rewrite.h"
#include "pipeline/round_layerwise.h"
#include "pipeline/source.h"
#include "pipeline/text_input.h"

namespace halftone {
namespace {

// Rows are decoded, rounded and written in slabs of this many weights, so that memory does not grow
// with the tensor.
constexpr int64_t kSlabWeights = int64_t{1} << 24;

// Stands for the grid that each tensor is on already.
constexpr std::string_view kOwnGrids = "same";

// Stands for the grids that a target has yet to choose: the widest that they may be.
std::string StandIn() {
  const Grid* widest = nullptr;
  for (const Grid* grid : AllGrids()) {
    if (grid->scalar == nullptr || !grid->writable()) continue;
    if (widest == nullptr || grid->bits_per_weight() > widest->bits_per_weight()) widest = grid;
  }
  return std::string(widest->name);
}

// What the file and the report call the grid.
std::string GridText(const QuantizeOptions& options) {
  if (options.target_bytes > 0) return fmt::format("at most {} bytes", options.target_bytes);
  if (options.target_bits > 0)
    return fmt::format("at most {} bits per weight", options.target_bits);
  if (options.target_memory > 0) {
    return fmt::format("at most {} bytes of memory with {} tokens", options.target_memory,
                       options.target_context);
  }
  return options.grid;
}

struct QuantizePlan {
  RewritePlan rewrite;
  Recipe recipe;
  std::string method;                                         // its name
  std::vector<std::shared_ptr<std::vector<int32_t>>> orders;  // LayerwiseJob's
};

// The importances of the tensor, or none. Throws if the entry does not fit the tensor.
std::vector<float> ImportanceFor(const ImportanceMatrix& matrix, const Tensor& tensor) {
  const auto entry = matrix.entries.find(tensor.name);
  if (entry == matrix.entries.end()) return {};
  std::vector<float> importance = entry->second.MeanSquare();
  const int64_t matrices = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
  if (static_cast<int64_t>(importance.size()) != matrices * tensor.cols()) {
    FailUsage("the importance matrix has {} values for tensor '{}', which has {} columns",
              importance.size(), tensor.name, matrices * tensor.cols());
  }
  return importance;
}

TextInput TextFor(const QuantizeOptions& options) {
  if (!options.calibration.empty()) return ReadTextInput(options.calibration);
  if (options.progress) {
    options.progress->Note("no --calibration: using the text that comes with halftone");
  }
  return BundledText();
}

ImportanceMatrix Importances(const std::string& input, const TextInput& calibration,
                             const QuantizeOptions& options) {
  if (!options.imatrix.empty()) return ReadImportanceMatrix(options.imatrix);
  ImatrixOptions calibrate;
  calibrate.adapter = options.adapter;
  calibrate.context = options.context;
  calibrate.chunks = options.calibration_chunks;
  calibrate.threads = options.threads;
  calibrate.progress = options.progress;
  return MeasureImportanceOn(input, calibration, calibrate);
}

std::string ChooseMethod(const QuantizeOptions& options) {
  if (!options.imatrix.empty() && !options.calibration.empty()) {
    FailUsage("give either an imatrix file or calibration text, not both");
  }
  if (options.method.empty()) {
    return !options.calibration.empty() ? "best" : !options.imatrix.empty() ? "imatrix" : "rtn";
  }
  const Needs needs = RecipeNamed(options.method).needs();
  if (needs >= Needs::kGram && !options.imatrix.empty()) {
    FailUsage("method '{}' measures more than an imatrix file holds: give --calibration",
              options.method);
  }
  if (needs == Needs::kMeanSquare && options.imatrix.empty() && options.calibration.empty()) {
    FailUsage("method '{}' needs --imatrix or --calibration", options.method);
  }
  return options.method;
}

// A transform changes every weight of the layers and what it folds its scales into, even where the
// grid stays.
void RewriteTransformed(RewritePlan& plan) {
  if (plan.source->architecture == nullptr) return;  // refused where the model would be run
  for (Job& job : plan.jobs) {
    const auto place = PlaceOf(*plan.source->architecture, Dialect::kGguf, job.source->tensor.name);
    if (place && (IsLayerLinear(*place) || IsFolded(*place, plan.source->shape.experts > 0))) {
      job.choice.quantize = true;
    }
  }
}

// Gives each rounded matrix room for an order of its columns.
void KeepOrders(QuantizePlan& plan) {
  RewritePlan& rewrite = plan.rewrite;
  if (!rewrite.container->can_store_order) {
    FailUsage("container '{}' cannot keep columns in act-order", rewrite.container->name);
  }
  if (plan.recipe.needs() < Needs::kGram) {
    FailUsage("method '{}' does not look at the order of columns", plan.method);
  }
  for (size_t i = 0; i < rewrite.jobs.size(); ++i) {
    const Job& job = rewrite.jobs[i];
    const bool sorted = job.choice.quantize && !job.choice.grid->plain;
    if (sorted && job.source->tensor.shape.size() > 2) {
      FailUnsupported("{}: tensor '{}': experts cannot have their columns in act-order",
                      rewrite.source->checkpoint.path, job.source->tensor.name);
    }
    plan.orders.push_back(sorted ? std::make_shared<std::vector<int32_t>>(
                                       static_cast<size_t>(job.source->tensor.cols()))
                                 : nullptr);
    if (!sorted) continue;
    std::iota(plan.orders[i]->begin(), plan.orders[i]->end(), 0);
    rewrite.file.tensors[job.first].order = plan.orders[i];
  }
}

// Files of Hugging Face's kind keep their vectors as they are; what no such file can hold (the
// embedding of a GGUF file on one of its own grids) becomes f16. A matrix that was to be rounded
// and stays has a note that says why.
TensorChoice ForDialect(const Container& container, const Tensor& tensor, TensorChoice choice) {
  if (container.dialect == Dialect::kGguf) return choice;
  const bool linear = choice.quantize && !choice.grid->plain;
  if (linear) return choice;
  const std::string note = choice.note.empty() ? "" : "not quantized, " + choice.note;
  if (container.can_store(*tensor.grid)) return {tensor.grid, false, note, false};
  return {&GridNamed("f16"), true, note, false};
}

// Where an adapter went into the weights and nothing else is to change.
std::vector<TensorChoice> OwnGrids(const Source& source) {
  std::vector<TensorChoice> choices;
  for (const GgufTensor& t : source.tensors) {
    const auto own = source.to_round.find(t.tensor.name);
    const bool rounded = own != source.to_round.end();
    choices.push_back({rounded ? own->second : t.tensor.grid, rounded, "", false});
  }
  return choices;
}

bool HasTarget(const QuantizeOptions& options) {
  const int targets =
      (options.target_bytes > 0) + (options.target_bits > 0) + (options.target_memory > 0);
  if (targets > 1) FailUsage("give one target: a size, bits or memory");
  if (targets == 1 && !options.grid.empty()) {
    FailUsage("give either a grid or a target, not both");
  }
  if (targets == 0 && options.grid.empty())
    FailUsage("give a grid, or a target: a size, bits or memory");
  return targets == 1;
}

// In files of Hugging Face's kind matrices that a grid's groups do not fit stay as they are: all
// may not.
void RequireOneRounded(const RewritePlan& plan, const Grid& grid) {
  if (grid.plain || plan.container->dialect == Dialect::kGguf) return;
  const auto plain = [](const Job& job) { return job.choice.grid->plain; };
  if (!std::ranges::all_of(plan.jobs, plain)) return;
  FailUsage("{}: grid '{}' has groups of {} weights, and no matrix has rows of whole ones",
            plan.source->checkpoint.path, grid.name, grid.block);
}

// Everything that can be refused is refused here, before calibration spends time. `grids`: instead
// of the preset's, or empty; parallel to the tensors, null where there is none.
QuantizePlan MakePlan(std::shared_ptr<const Source> source, const QuantizeOptions& options,
                      const std::vector<const Grid*>& grids = {}) {
  QuantizePlan plan;
  RewritePlan& rewrite = plan.rewrite;
  const bool by_target = HasTarget(options);
  const bool own = options.grid == kOwnGrids;
  const Preset* preset = own ? nullptr : &PresetNamed(by_target ? StandIn() : options.grid);
  plan.method = ChooseMethod(options);
  plan.recipe = RecipeNamed(plan.method);
  rewrite.source = std::move(source);
  std::vector<const Tensor*> tensors;
  for (const GgufTensor& t : rewrite.source->tensors) tensors.push_back(&t.tensor);
  auto choices = own ? OwnGrids(*rewrite.source)
                     : ChooseGrids(*preset, rewrite.source->shape, tensors,
                                   plan.recipe.needs() != Needs::kNothing);
  for (size_t i = 0; i < grids.size(); ++i) {
    if (grids[i] != nullptr) choices[i] = {grids[i], true, "", false};
  }
  const auto quantized = std::ranges::find_if(
      choices, [&](const TensorChoice& c) { return (own || c.quantize) && !c.grid->plain; });
  rewrite.container = &ChooseContainer(options.container,
                                       quantized == choices.end() ? F32Grid() : *quantized->grid);

  if (by_target && rewrite.container->dialect != Dialect::kGguf) {
    FailUsage("a target chooses among the grids of GGUF files, not of container '{}'",
              rewrite.container->name);
  }

  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!HasPlace(*rewrite.source, rewrite.source->tensors[i], rewrite.container->dialect)) {
      continue;
    }
    Job job{
        &rewrite.source->tensors[i], ForDialect(*rewrite.container, *tensors[i], choices[i]), {}};
    if (job.choice.grid == tensors[i]->grid) job.choice.quantize = false;
    rewrite.jobs.push_back(std::move(job));
  }
  if (preset != nullptr && !by_target) RequireOneRounded(rewrite, BaseGrid(*preset));
  if (plan.recipe.transform != nullptr) RewriteTransformed(rewrite);
  ListTensors(rewrite);
  if (options.act_order) KeepOrders(plan);
  rewrite.checks_copies = true;
  CheckStorable(rewrite);
  rewrite.file.split_bytes = options.split_bytes;
  rewrite.file.documents = DocumentsFor(*rewrite.source, *rewrite.container, rewrite.file.tensors);
  Metadata& metadata = rewrite.file.metadata;
  metadata = rewrite.source->metadata;
  if (by_target) {
    metadata.Set("general.file_type", Value(MostlyFileType(rewrite).value_or(0)));
  } else if (preset != nullptr && preset->gguf_file_type >= 0) {
    metadata.Set("general.file_type", Value(static_cast<uint32_t>(preset->gguf_file_type)));
  }
  metadata.Set("general.quantization_version", Value(uint32_t{2}));
  metadata.Set("halftone.version", Value(std::string(HALFTONE_VERSION)));
  metadata.Set("halftone.method", Value(plan.method));
  metadata.Set("halftone.grid", Value(GridText(options)));
  return plan;
}

QuantizeReport Report(const QuantizePlan& plan, const std::string& output,
                      const QuantizeOptions& options) {
  QuantizeReport report = MakeReport(plan.rewrite, output);
  report.grid = GridText(options);
  report.method = plan.method;
  report.moved = plan.rewrite.source->moved;
  return report;
}

// Gives each job its importances and records where they came from, as llama-quantize does.
void AttachImportance(const ImportanceMatrix& importance, const QuantizeOptions& options,
                      RewritePlan& plan) {
  for (Job& job : plan.jobs) {
    job.importance = ImportanceFor(importance, job.source->tensor);
    const auto entry = importance.entries.find(job.source->tensor.name);
    if (entry == importance.entries.end()) continue;
    const std::string unseen = UnseenNote(entry->second.Unseen(), entry->second.counts.size() > 1);
    if (unseen.empty()) continue;
    job.choice.note += (job.choice.note.empty() ? "" : "; ") + unseen;
  }
  Metadata& metadata = plan.file.metadata;
  const std::string& file = options.imatrix.empty() ? options.calibration : options.imatrix;
  metadata.Set("quantize.imatrix.file", Value(file.substr(0, 127)));
  if (!importance.datasets.empty()) {
    metadata.Set("quantize.imatrix.dataset", Value(importance.datasets[0].substr(0, 127)));
  }
  metadata.Set("quantize.imatrix.entries_count",
               Value(static_cast<uint32_t>(importance.entries.size())));
  metadata.Set("quantize.imatrix.chunks_count",
               Value(static_cast<uint32_t>(importance.chunk_count)));
  if (const auto record = ReadRecord(importance.own)) WriteRecord(*record, metadata);
}

// Rounds one tensor slab by slab into the writer; returns the relative error.
double RoundTensor(const RewritePlan& plan, const Method& method, const Job& job, ThreadPool& pool,
                   RewriteWriter& writer) {
  const Tensor& t = job.source->tensor;
  const Grid& grid = *job.choice.grid;
  const int64_t cols = t.cols(), rows = t.rows();
  const int64_t matrices = t.shape.size() == 3 ? t.shape[0] : 1;
  const int64_t matrix_rows = rows / std::max<int64_t>(1, matrices);
  const int64_t slab = std::max<int64_t>(1, kSlabWeights / std::max<int64_t>(1, cols));
  GgufTensor source = *job.source;
  source.tensor = Loaded(t, pool);
  std::vector<float> values;
  std::vector<uint8_t> blocks;
  ChangeSum sum;
  for (int64_t m = 0; m < matrices; ++m) {
    Statistics statistics;
    if (!job.importance.empty()) {
      statistics.mean_square = std::span(job.importance).subspan(m * cols, cols);
    }
    for (int64_t r = m * matrix_rows; r < (m + 1) * matrix_rows; r += slab) {
      const int64_t count = std::min(slab, (m + 1) * matrix_rows - r);
      values.resize(static_cast<size_t>(count * cols));
      blocks.resize(static_cast<uint64_t>(count) * grid.RowBytes(cols));
      DecodeRows(*plan.source, source, r, r + count, pool, values.data());
      method.round(values, count, cols, statistics, grid, pool, blocks.data());
      writer.Append(blocks, r + count == rows);
      sum.Add(values, count, cols, grid, blocks, pool);
    }
  }
  return sum.Relative();
}

// Tensor by tensor, for methods that do not run the model while they round.
void RoundStreamed(const QuantizePlan& plan, const std::string& output,
                   const QuantizeOptions& options, QuantizeReport& report) {
  const RewritePlan& rewrite = plan.rewrite;
  ThreadPool pool(options.threads, options.progress);
  RewriteWriter writer(rewrite, output, options.progress);
  Progress* progress = options.progress;
  if (progress) progress->Begin("quantize to " + GridText(options), rewrite.source->parameters);
  int64_t done = 0;
  for (size_t i = 0; i < rewrite.jobs.size(); ++i) {
    const Job& job = rewrite.jobs[i];
    CheckCancelled(progress);
    if (job.choice.quantize) {
      const auto start = std::chrono::steady_clock::now();
      report.tensors[i].relative_error =
          RoundTensor(rewrite, *plan.recipe.method, job, pool, writer);
      report.tensors[i].seconds = SecondsSince(start);
    }
    done += job.source->tensor.count();
    if (progress) progress->Advance(done);
  }
  writer.Commit();
  if (progress) progress->End();
}

// The plan whose grids the target chooses. `complete` adds what else the file will hold.
template <class Complete>
QuantizePlan AllocatedPlan(const std::shared_ptr<const Source>& source,
                           const QuantizePlan& stand_in, const TextInput& calibration,
                           const QuantizeOptions& options, const Complete& complete) {
  const auto parameters = static_cast<double>(std::max<int64_t>(1, source->parameters));
  const bool by_bits = options.target_bits > 0;
  const uint64_t target = by_bits ? static_cast<uint64_t>(options.target_bits * parameters / 8)
                                  : TargetFileBytes(*source, options);
  const double bits = 8 * static_cast<double>(target) / parameters;
  const GridAllocator allocator(source, stand_in.rewrite.jobs, *stand_in.rewrite.container,
                                calibration, bits, options);
  uint64_t kept = 0;  // bytes of tensors whose grid is not up for choice
  for (const Job& job : stand_in.rewrite.jobs) {
    const Tensor& t = job.source->tensor;
    if (!job.choice.quantize || job.choice.grid->plain) {
      kept += static_cast<uint64_t>(t.rows()) * job.choice.grid->RowBytes(t.cols());
    }
  }
  // The rest of the file depends on the choice a little: its alignment, the names of types.
  uint64_t beside = kept;
  for (;;) {
    if (beside >= target) FailUsage("the target of {} bytes leaves nothing for weights", target);
    QuantizePlan plan = MakePlan(source, options, allocator.Choose(target - beside));
    complete(plan);
    const QuantizeReport report = MakeReport(plan.rewrite, "");
    const uint64_t bytes = by_bits ? report.tensor_bytes : report.file_bytes;
    if (bytes <= target) return plan;
    beside += bytes - target;
  }
}

// A plan that holds everything that the file will, and what was read for it.
struct Prepared {
  QuantizePlan plan;
  TextInput calibration;
  std::string fingerprint;
};

// `output`: empty where nothing will be written.
Prepared Prepare(const std::shared_ptr<const Source>& source, const std::string& input,
                 const std::string& output, const QuantizeOptions& options) {
  Prepared prepared{MakePlan(source, options), {}, ""};
  if (!output.empty()) CheckOutput(input, output, prepared.plan.rewrite);
  const Needs needs = prepared.plan.recipe.needs();
  const bool by_target = HasTarget(options);
  const bool reads_text = needs >= Needs::kGram || by_target ||
                          (needs == Needs::kMeanSquare && options.imatrix.empty());
  if (reads_text) prepared.calibration = TextFor(options);
  std::optional<ImportanceMatrix> importance;
  if (needs == Needs::kMeanSquare) importance = Importances(input, prepared.calibration, options);
  if (needs >= Needs::kGram) {
    prepared.fingerprint = Fingerprint(*source, options, prepared.calibration.text);
  }
  // Importances bring what their text was; a target may read one besides.
  std::optional<CalibrationRecord> record;
  if (reads_text && !(importance && ReadRecord(importance->own))) {
    record = RecordOf(prepared.calibration.name, PlainText(prepared.calibration));
  }
  // What is known only now belongs to the file's size.
  const auto complete = [&](QuantizePlan& plan) {
    if (importance) AttachImportance(*importance, options, plan.rewrite);
    if (record) WriteRecord(*record, plan.rewrite.file.metadata);
    if (!prepared.fingerprint.empty()) {
      plan.rewrite.file.metadata.Set("halftone.fingerprint", Value(prepared.fingerprint));
    }
  };
  if (by_target) {
    prepared.plan = AllocatedPlan(source, prepared.plan, prepared.calibration, options, complete);
  } else {
    complete(prepared.plan);
  }
  return prepared;
}

std::shared_ptr<const Source> Open(const std::string& input, const QuantizeOptions& options) {
  const bool own = options.grid == kOwnGrids;
  if (own && options.adapter.empty()) {
    FailUsage("grid '{}' is for a model that an adapter goes into", kOwnGrids);
  }
  return std::make_shared<const Source>(
      OpenSource(input, options.adapter, own ? Merging::kInPlace : Merging::kPlain));
}

}  // namespace

QuantizeReport Quantize(const std::string& input, const std::string& output,
                        const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  return NamingCancelled(output, [&] {
    const std::shared_ptr<const Source> source = Open(input, options);
    const Prepared prepared = Prepare(source, input, output, options);
    const QuantizePlan& plan = prepared.plan;
    QuantizeReport report = Report(plan, output, options);
    if (plan.recipe.needs() >= Needs::kGram) {
      const LayerwiseJob job{
          &plan.rewrite,        plan.recipe, prepared.calibration.text, prepared.calibration.name,
          prepared.fingerprint, plan.orders};
      RoundLayerwise(job, output, options, report);
    } else {
      RoundStreamed(plan, output, options, report);
    }
    report.seconds = SecondsSince(start);
    return report;
  });
}

QuantizeReport PlanQuantize(const std::string& input, const QuantizeOptions& options) {
  const auto source = Open(input, options);
  if (!HasTarget(options)) return PlanQuantize(source, options);
  return Report(Prepare(source, input, "", options).plan, "", options);
}

QuantizeReport PlanQuantize(std::shared_ptr<const Source> source, const QuantizeOptions& options) {
  QuantizePlan plan = MakePlan(std::move(source), options);
  // A file's entries decide the metadata's size; measuring text is what a plan must not do, and its
  // strings are then not counted.
  if (!options.imatrix.empty() && plan.recipe.needs() == Needs::kMeanSquare) {
    AttachImportance(ReadImportanceMatrix(options.imatrix), options, plan.rewrite);
  }
  if (plan.recipe.needs() >= Needs::kGram) {
    const TextInput calibration = TextFor(options);
    WriteRecord(RecordOf(calibration.name, PlainText(calibration)), plan.rewrite.file.metadata);
    plan.rewrite.file.metadata.Set("halftone.fingerprint",
                                   Value(std::string(kFingerprintLength, '0')));
  }
  return Report(plan, "", options);
}

}  // namespace halftone
