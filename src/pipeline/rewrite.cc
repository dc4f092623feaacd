#include "pipeline/rewrite.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/cancel.h"
#include "base/error.h"
#include "base/finite.h"
#include "pipeline/exact_grid.h"
#include "tensor/composed.h"

namespace halftone {

namespace {

// The 16-bit or wider grid that most of the plain matrices are on.
const Grid* UsualPlainGrid(const std::vector<Job>& jobs) {
  std::map<const Grid*, int64_t> weights;
  for (const Job& job : jobs) {
    const bool matrix = job.source->tensor.shape.size() > 1;
    if (matrix && job.choice.grid->plain && job.choice.grid->writable()) {
      weights[job.choice.grid] += job.source->tensor.count();
    }
  }
  const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
  return most == weights.end() ? &F32Grid() : most->first;
}

// That the file keeps a tensor on which GGUF has in f32, with values smaller by the offset.
const Grid* GridOfWidened(const Job& job, float offset, const Grid& usual, ThreadPool& pool) {
  if (job.choice.quantize) return job.choice.grid;
  const Tensor shifted = Loaded(Shifted(job.source->tensor, -offset));
  return HoldsExactly(shifted, usual, pool) ? &usual : &F32Grid();
}

}  // namespace

void ListTensors(RewritePlan& plan) {
  ThreadPool pool(1);
  const Dialect dialect = plan.container->dialect;
  const Grid* usual = UsualPlainGrid(plan.jobs);
  for (Job& job : plan.jobs) {
    job.place = PlaceInDialect(*plan.source, *job.source, dialect);
    job.first = plan.file.tensors.size();
    TensorPlan tensor{"", job.choice.grid, job.source->tensor.shape,
                      job.choice.quantize ? nullptr : job.source->tensor.order};
    if (job.place.widened) tensor.grid = GridOfWidened(job, job.place.offset, *usual, pool);
    if (job.place.names.size() > 1) tensor.shape.erase(tensor.shape.begin());
    for (const std::string& name : job.place.names) {
      tensor.name = name;
      plan.file.tensors.push_back(tensor);
    }
  }
}

std::string UnseenNote(const std::vector<int64_t>& unseen, bool experts) {
  if (unseen.empty()) return "";
  if (!experts) return "no token met it in calibration";
  constexpr size_t kNamed = 8;
  const std::span<const int64_t> named = std::span(unseen).first(std::min(kNamed, unseen.size()));
  std::string text =
      fmt::format("no token met expert{} {}", unseen.size() > 1 ? "s" : "", fmt::join(named, ", "));
  if (unseen.size() > kNamed) text += fmt::format(" and {} more", unseen.size() - kNamed);
  return text;
}

const Container& ChooseContainer(const std::string& name, const Grid& grid) {
  if (name.empty()) {
    for (const Container* container : AllContainers()) {
      if (container->create != nullptr && container->can_store(grid)) return *container;
    }
    FailUnsupported("no container holds grid '{}'", grid.name);
  }
  const Container& container = ContainerNamed(name);
  if (container.create == nullptr) {
    FailUsage("container '{}' can be read but not written", container.name);
  }
  return container;
}

void CheckStorable(const RewritePlan& plan) {
  for (const TensorPlan& tensor : plan.file.tensors) {
    if (!plan.container->can_store(*tensor.grid)) {
      FailUsage("container '{}' cannot hold grid '{}' (tensor '{}')", plan.container->name,
                tensor.grid->name, tensor.name);
    }
    if (tensor.order != nullptr && !plan.container->can_store_order) {
      FailUsage("container '{}' cannot keep the order of columns of tensor '{}'",
                plan.container->name, tensor.name);
    }
  }
}

std::string OpenedOutput(const RewritePlan& plan, const std::string& output) {
  if (output.empty() || plan.container->opened == nullptr) return output;
  return plan.container->opened(output, plan.file);
}

void CheckOutput(const std::string& input, const std::string& output, const RewritePlan& plan) {
  std::error_code error;
  for (const std::string& written : {output, OpenedOutput(plan, output)}) {
    if (std::filesystem::equivalent(input, written, error)) {
      FailUsage("{}: the output is the input", written);
    }
  }
  if (plan.container->dialect == Dialect::kGguf && std::filesystem::is_directory(output, error)) {
    FailUsage("{}: the output is a folder, expected a file name", output);
  }
}

std::optional<uint32_t> MostlyFileType(const RewritePlan& plan) {
  std::map<std::string_view, int64_t> weights;
  for (const Job& job : plan.jobs) weights[job.choice.grid->name] += job.source->tensor.count();
  const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
  if (most == weights.end()) return std::nullopt;
  const Preset* preset = FindPreset(most->first);
  if (preset == nullptr || preset->gguf_file_type < 0) return std::nullopt;
  return static_cast<uint32_t>(preset->gguf_file_type);
}

QuantizeReport MakeReport(const RewritePlan& plan, const std::string& output) {
  QuantizeReport report;
  report.output = OpenedOutput(plan, output);
  report.container = plan.container->name;
  report.file_bytes = plan.container->file_bytes(plan.file);
  for (const Job& job : plan.jobs) {
    const Tensor& from = job.source->tensor;
    QuantizedTensor tensor;
    tensor.name = from.name;
    tensor.shape = from.shape;
    tensor.source_grid = from.grid->title;
    tensor.grid = job.choice.grid->title;
    tensor.bytes = TensorPlan{from.name, job.choice.grid, from.shape}.bytes();
    tensor.note = job.choice.note;
    report.tensor_bytes += tensor.bytes;
    report.tensors.push_back(std::move(tensor));
  }
  report.bits_per_weight = 8.0 * static_cast<double>(report.tensor_bytes) /
                           static_cast<double>(std::max<int64_t>(1, plan.source->parameters));
  return report;
}

namespace {

// Whole rows of a tensor.
void RequireFinite(const std::string& path, const Tensor& tensor, std::span<const uint8_t> rows) {
  std::vector<float> values(static_cast<size_t>(tensor.cols()));
  for (size_t at = 0; at < rows.size() && !values.empty(); at += tensor.row_bytes()) {
    tensor.grid->Decode(rows.data() + at, tensor.cols(), values.data());
    if (!AllFinite(values)) {
      FailFormat("{}: tensor '{}' holds a value that is not finite", path, tensor.name);
    }
  }
}

}  // namespace

RewriteWriter::RewriteWriter(const RewritePlan& plan, const std::string& output, Progress* progress)
    : plan_(plan),
      output_(output),
      progress_(progress),
      writer_(plan.container->create(output, plan.file)),
      waiting_(plan.jobs.size()),
      ready_(plan.jobs.size()) {
  Advance();
}

// Writes everything that is ready, in order.
void RewriteWriter::Advance() {
  for (; next_ < plan_.jobs.size(); ++next_) {
    const Job& job = plan_.jobs[next_];
    if (job.choice.quantize) {
      if (!ready_[next_]) return;
      Write(std::move(waiting_[next_]));
      waiting_[next_] = {};
      continue;
    }
    Copy(job);
  }
}

void RewriteWriter::Copy(const Job& job) {
  const auto check = [&](std::span<const uint8_t> rows) {
    if (plan_.checks_copies) RequireFinite(plan_.source->checkpoint.path, job.source->tensor, rows);
  };
  if (!job.place.same_bytes()) {
    std::vector<uint8_t> rows = RowsInOrder(*job.source);
    check(rows);
    Write(std::move(rows));
    return;
  }
  ForKeptBytes(*job.source, job.place, [&](std::span<const uint8_t> piece) {
    check(piece);
    writer_->Append(piece);
    plan_.source->checkpoint.GiveBackPages();
    CheckCancelled(progress_);
  });
}

// All blocks of the job at hand, in GGUF order, to the file's tensors that are its.
void RewriteWriter::Write(std::vector<uint8_t> blocks) {
  const Job& job = plan_.jobs[next_];
  blocks = InFileOrder(*job.source, job.place, *job.choice.grid,
                       *plan_.file.tensors[job.first].grid, std::move(blocks));
  std::span<const uint8_t> rest = blocks;
  for (size_t left = job.place.names.size(); left > 0; --left) {
    const uint64_t bytes = rest.size() / left;
    writer_->Append(rest.first(bytes));
    rest = rest.subspan(bytes);
  }
}

void RewriteWriter::Put(size_t job, std::vector<uint8_t> blocks) {
  waiting_[job] = std::move(blocks);
  ready_[job] = true;
  Advance();
}

void RewriteWriter::Append(std::span<const uint8_t> piece, bool last) {
  plan_.source->checkpoint.GiveBackPages();
  const DialectPlace& place = plan_.jobs[next_].place;
  if (place.same_bytes() && place.permuted_heads == 0) {
    writer_->Append(piece);
    if (!last) return;
    ++next_;
    Advance();
    return;
  }
  std::vector<uint8_t>& waiting = waiting_[next_];
  waiting.insert(waiting.end(), piece.begin(), piece.end());
  if (last) Put(next_, std::move(waiting));
}

void RewriteWriter::Commit() { writer_->Commit(); }

void ChangeSum::Add(std::span<const float> weights, int64_t rows, int64_t cols, const Grid& grid,
                    std::span<const uint8_t> blocks, ThreadPool& pool) {
  std::vector<ChangeSum> each(static_cast<size_t>(rows));
  std::vector<std::vector<float>> decoded(static_cast<size_t>(pool.threads()),
                                          std::vector<float>(static_cast<size_t>(cols)));
  pool.For(rows, [&](int64_t r, int thread) {
    float* back = decoded[thread].data();
    grid.Decode(blocks.data() + static_cast<uint64_t>(r) * grid.RowBytes(cols), cols, back);
    const float* w = weights.data() + r * cols;
    for (int64_t c = 0; c < cols; ++c) {
      const double difference = static_cast<double>(w[c]) - back[c];
      each[r].weight += static_cast<double>(w[c]) * w[c];
      each[r].change += difference * difference;
    }
  });
  for (const ChangeSum& sum : each) {  // in row order, whatever the threads did
    weight += sum.weight;
    change += sum.change;
  }
}

double ChangeSum::Relative() const { return weight > 0 ? std::sqrt(change / weight) : 0; }

}  // namespace halftone
