// Quantize, PlanQuantize and Convert: the one place where grid, method and container meet.

#include "halftone/quantize.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/thread_pool.h"
#include "calibration/imatrix_file.h"
#include "container/container.h"
#include "method/method.h"
#include "pipeline/calibrate.h"
#include "pipeline/plan_quantize.h"
#include "pipeline/presets.h"
#include "pipeline/source.h"

namespace halftone {
namespace {

// Rows are decoded, rounded and written in slabs of this many weights, so that memory does not grow
// with the tensor.
constexpr int64_t kSlabWeights = int64_t{1} << 24;

// What will happen to one tensor.
struct Job {
  const GgufTensor* source = nullptr;
  TensorChoice choice;
  std::vector<float> importance;  // [matrices, cols] or empty
};

struct Plan {
  std::shared_ptr<const Source> source;
  std::string grid;
  const Method* method = nullptr;
  const Container* container = nullptr;
  std::vector<Job> jobs;
  CheckpointPlan file;
};

const Container& ChooseContainer(const std::string& name) {
  const Container& container = ContainerNamed(name.empty() ? "gguf" : name);
  if (container.create == nullptr) {
    FailUsage("container '{}' can be read but not written", container.name);
  }
  return container;
}

void CheckStorable(const Plan& plan, const TensorPlan& tensor) {
  if (!plan.container->can_store(*tensor.grid)) {
    FailUsage("container '{}' cannot hold grid '{}' (tensor '{}')", plan.container->name,
              tensor.grid->name, tensor.name);
  }
}

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

ImportanceMatrix Importances(const std::string& input, const QuantizeOptions& options) {
  if (!options.imatrix.empty() && !options.calibration.empty()) {
    FailUsage("give either an imatrix file or calibration text, not both");
  }
  if (!options.imatrix.empty()) return ReadImportanceMatrix(options.imatrix);
  ImatrixOptions calibrate;
  calibrate.threads = options.threads;
  calibrate.progress = options.progress;
  return MeasureImportance(input, options.calibration, calibrate);
}

bool WantsImportance(const Plan& plan) { return plan.method->needs == Needs::kMeanSquare; }

// Everything that can be refused is refused here, before calibration spends time.
Plan MakePlan(std::shared_ptr<const Source> source, const QuantizeOptions& options) {
  Plan plan;
  plan.grid = options.grid;
  const Preset& preset = PresetNamed(options.grid);
  const bool has_importance = !options.imatrix.empty() || !options.calibration.empty();
  plan.method = &MethodNamed(!options.method.empty() ? options.method
                             : has_importance        ? "imatrix"
                                                     : "rtn");
  if (WantsImportance(plan) && !has_importance) {
    FailUsage("method '{}' needs --imatrix or --calibration", plan.method->name);
  }
  plan.container = &ChooseContainer(options.container);
  plan.source = std::move(source);

  std::vector<const Tensor*> tensors;
  for (const GgufTensor& t : plan.source->tensors) tensors.push_back(&t.tensor);
  const auto choices = ChooseGrids(preset, plan.source->shape, tensors, WantsImportance(plan));
  for (size_t i = 0; i < tensors.size(); ++i) {
    Job job{&plan.source->tensors[i], choices[i], {}};
    if (job.choice.grid == tensors[i]->grid) job.choice.quantize = false;
    plan.file.tensors.push_back({tensors[i]->name, job.choice.grid, tensors[i]->shape});
    CheckStorable(plan, plan.file.tensors.back());
    plan.jobs.push_back(std::move(job));
  }
  Metadata& metadata = plan.file.metadata;
  metadata = plan.source->metadata;
  if (preset.gguf_file_type >= 0) {
    metadata.Set("general.file_type", Value(static_cast<uint32_t>(preset.gguf_file_type)));
  }
  metadata.Set("general.quantization_version", Value(uint32_t{2}));
  metadata.Set("halftone.version", Value(std::string(HALFTONE_VERSION)));
  metadata.Set("halftone.method", Value(std::string(plan.method->name)));
  metadata.Set("halftone.grid", Value(plan.grid));
  return plan;
}

// Gives each job its importances and records where they came from, as llama-quantize does.
void AttachImportance(const ImportanceMatrix& importance, const QuantizeOptions& options,
                      Plan& plan) {
  for (Job& job : plan.jobs) {
    job.importance = ImportanceFor(importance, job.source->tensor);
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
}

QuantizeReport MakeReport(const Plan& plan, const std::string& output) {
  QuantizeReport report;
  report.output = output;
  report.grid = plan.grid;
  report.method = plan.method ? plan.method->name : "";
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

// Sums of squares of a slab: of the weights, and of what rounding changed.
struct Squares {
  double weight = 0;
  double change = 0;
};

Squares Compare(const std::vector<float>& values, int64_t rows, int64_t cols, const Grid& grid,
                const std::vector<uint8_t>& blocks, ThreadPool& pool) {
  std::vector<Squares> each(static_cast<size_t>(rows));
  std::vector<std::vector<float>> decoded(static_cast<size_t>(pool.threads()),
                                          std::vector<float>(static_cast<size_t>(cols)));
  pool.For(rows, [&](int64_t r, int thread) {
    float* back = decoded[thread].data();
    grid.Decode(blocks.data() + static_cast<uint64_t>(r) * grid.RowBytes(cols), cols, back);
    const float* w = values.data() + r * cols;
    for (int64_t c = 0; c < cols; ++c) {
      const double change = static_cast<double>(w[c]) - back[c];
      each[r].weight += static_cast<double>(w[c]) * w[c];
      each[r].change += change * change;
    }
  });
  Squares sum;  // in row order, whatever the threads did
  for (const Squares& s : each) {
    sum.weight += s.weight;
    sum.change += s.change;
  }
  return sum;
}

// Rounds one tensor slab by slab into the writer; returns the relative error.
double RoundTensor(const Plan& plan, const Job& job, ThreadPool& pool, CheckpointWriter& writer) {
  const Tensor& t = job.source->tensor;
  const Grid& grid = *job.choice.grid;
  const int64_t cols = t.cols(), rows = t.rows();
  const int64_t matrices = t.shape.size() == 3 ? t.shape[0] : 1;
  const int64_t matrix_rows = rows / std::max<int64_t>(1, matrices);
  const int64_t slab = std::max<int64_t>(1, kSlabWeights / std::max<int64_t>(1, cols));
  std::vector<float> values;
  std::vector<uint8_t> blocks;
  Squares sum;
  for (int64_t m = 0; m < matrices; ++m) {
    Statistics statistics;
    if (!job.importance.empty()) {
      statistics.mean_square = std::span(job.importance).subspan(m * cols, cols);
    }
    for (int64_t r = m * matrix_rows; r < (m + 1) * matrix_rows; r += slab) {
      const int64_t count = std::min(slab, (m + 1) * matrix_rows - r);
      values.resize(static_cast<size_t>(count * cols));
      blocks.resize(static_cast<uint64_t>(count) * grid.RowBytes(cols));
      DecodeRows(*plan.source, *job.source, r, r + count, pool, values.data());
      plan.method->round(values, count, cols, statistics, grid, pool, blocks.data());
      writer.Append(blocks);
      const Squares s = Compare(values, count, cols, grid, blocks, pool);
      sum.weight += s.weight;
      sum.change += s.change;
    }
  }
  return sum.weight > 0 ? std::sqrt(sum.change / sum.weight) : 0;
}

// The writable grid that the container holds with the nearest bits per weight not below the given
// one's, for rows of `cols`.
const Grid& NearestStorable(const Container& container, const Grid& grid, int64_t cols) {
  const Grid* best = nullptr;
  for (const Grid* candidate : AllGrids()) {
    if (!candidate->writable() || !container.can_store(*candidate) ||
        cols % candidate->block != 0 || candidate->importance == Importance::kRequired ||
        candidate->bits_per_weight() < grid.bits_per_weight()) {
      continue;
    }
    if (best == nullptr || candidate->bits_per_weight() < best->bits_per_weight()) best = candidate;
  }
  if (best == nullptr) {
    FailUnsupported("container '{}' holds no grid that could replace '{}'", container.name,
                    grid.name);
  }
  return *best;
}

void RefuseSameFile(const std::string& input, const std::string& output) {
  std::error_code error;
  if (std::filesystem::equivalent(input, output, error)) {
    FailUsage("{}: the output is the input", output);
  }
  if (std::filesystem::is_directory(output, error)) {
    FailUsage("{}: the output is a folder, expected a file name", output);
  }
}

// Carries the plan out; report.tensors gain their errors.
void Write(const Plan& plan, const std::string& output, int threads, Progress* progress,
           const std::string& task, QuantizeReport& report) {
  ThreadPool pool(threads);
  const auto writer = plan.container->create(output, plan.file);
  if (progress) progress->Begin(task, plan.source->parameters);
  int64_t done = 0;
  for (size_t i = 0; i < plan.jobs.size(); ++i) {
    const Job& job = plan.jobs[i];
    if (progress && progress->Cancelled()) {
      throw Error(Error::Kind::kCancelled, output + ": cancelled");
    }
    if (job.choice.quantize) {
      report.tensors[i].relative_error = RoundTensor(plan, job, pool, *writer);
    } else if (job.source->permuted_heads > 0) {
      writer->Append(RowsInOrder(*job.source));
    } else {
      writer->Append(job.source->tensor.data);
    }
    done += job.source->tensor.count();
    if (progress) progress->Advance(done);
  }
  writer->Commit();
  if (progress) progress->End();
}

// general.file_type of a file whose source did not say: the grid that most weights are on.
void NameFileType(Plan& plan) {
  if (plan.file.metadata.Find("general.file_type") != nullptr) return;
  std::map<const Grid*, int64_t> weights;
  for (const Job& job : plan.jobs) weights[job.choice.grid] += job.source->tensor.count();
  const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
  if (most == weights.end()) return;
  const Preset* preset = FindPreset(most->first->name);
  if (preset == nullptr || preset->gguf_file_type < 0) return;
  plan.file.metadata.Set("general.file_type", Value(static_cast<uint32_t>(preset->gguf_file_type)));
  plan.file.metadata.Set("general.quantization_version", Value(uint32_t{2}));
}

std::shared_ptr<const Source> Open(const std::string& input) {
  return std::make_shared<const Source>(OpenSource(input));
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

QuantizeReport Quantize(const std::string& input, const std::string& output,
                        const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  RefuseSameFile(input, output);
  Plan plan = MakePlan(Open(input), options);
  if (WantsImportance(plan)) AttachImportance(Importances(input, options), options, plan);
  QuantizeReport report = MakeReport(plan, output);
  Write(plan, output, options.threads, options.progress, "quantize to " + plan.grid, report);
  report.seconds = SecondsSince(start);
  return report;
}

QuantizeReport PlanQuantize(const std::string& input, const QuantizeOptions& options) {
  return PlanQuantize(Open(input), options);
}

QuantizeReport PlanQuantize(std::shared_ptr<const Source> source, const QuantizeOptions& options) {
  Plan plan = MakePlan(std::move(source), options);
  // A file's entries decide the metadata's size; measuring text is what a plan must not do, and its
  // strings are then not counted.
  if (!options.imatrix.empty() && WantsImportance(plan)) {
    AttachImportance(ReadImportanceMatrix(options.imatrix), options, plan);
  }
  return MakeReport(plan, "");
}

QuantizeReport Convert(const std::string& input, const std::string& output,
                       const ConvertOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  RefuseSameFile(input, output);
  Plan plan;
  plan.container = &ChooseContainer(options.container);
  plan.method = &MethodNamed("rtn");
  plan.source = Open(input);
  for (const GgufTensor& t : plan.source->tensors) {
    Job job{&t, {t.tensor.grid, false, ""}, {}};
    // Norms, biases and factors are f32 in every GGUF file; widening them loses nothing.
    if (t.tensor.shape.size() <= 1 && t.tensor.grid->plain && t.tensor.grid != &F32Grid()) {
      job.choice = {&F32Grid(), true, ""};
    }
    if (!plan.container->can_store(*job.choice.grid)) {
      if (!options.requantize) {
        FailUsage(
            "container '{}' cannot hold grid '{}' of tensor '{}' as it is; --requantize "
            "rounds it anew",
            plan.container->name, job.choice.grid->name, t.tensor.name);
      }
      job.choice = {&NearestStorable(*plan.container, *job.choice.grid, t.tensor.cols()), true,
                    "rounded anew"};
    }
    plan.file.tensors.push_back({t.tensor.name, job.choice.grid, t.tensor.shape});
    plan.jobs.push_back(std::move(job));
  }
  plan.file.metadata = plan.source->metadata;
  NameFileType(plan);
  QuantizeReport report = MakeReport(plan, output);
  report.method = "";
  Write(plan, output, options.threads, options.progress,
        "convert to " + std::string(plan.container->name), report);
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace halftone
