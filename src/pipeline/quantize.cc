// Quantize and PlanQuantize: the one place where grid, method and container meet.

#include "halftone/quantize.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "calibration/imatrix_file.h"
#include "method/method.h"
#include "pipeline/assets.h"
#include "pipeline/calibrate.h"
#include "pipeline/fingerprint.h"
#include "pipeline/hf_documents.h"
#include "pipeline/plan_quantize.h"
#include "pipeline/presets.h"
#include "pipeline/rewrite.h"
#include "pipeline/round_layerwise.h"
#include "pipeline/source.h"

namespace halftone {
namespace {

// Rows are decoded, rounded and written in slabs of this many weights, so that memory does not grow
// with the tensor.
constexpr int64_t kSlabWeights = int64_t{1} << 24;

// The calibration text that comes with the library.
constexpr const char* kBundledText = "calibration.txt";

struct QuantizePlan {
  RewritePlan rewrite;
  const Method* method = nullptr;
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

struct CalibrationText {
  std::string text;
  std::string name;
};

CalibrationText TextFor(const QuantizeOptions& options) {
  if (!options.calibration.empty()) return {ReadTextFile(options.calibration), options.calibration};
  if (options.progress) {
    options.progress->Note("no --calibration: using the text that comes with halftone");
  }
  return {std::string(Asset(kBundledText)), "the bundled calibration text"};
}

ImportanceMatrix Importances(const std::string& input, const QuantizeOptions& options) {
  if (!options.imatrix.empty()) return ReadImportanceMatrix(options.imatrix);
  const CalibrationText calibration = TextFor(options);
  ImatrixOptions calibrate;
  calibrate.context = options.context;
  calibrate.chunks = options.calibration_chunks;
  calibrate.threads = options.threads;
  calibrate.progress = options.progress;
  return MeasureImportanceOn(input, calibration.text, calibration.name, calibrate);
}

const Method& ChooseMethod(const QuantizeOptions& options) {
  if (!options.imatrix.empty() && !options.calibration.empty()) {
    FailUsage("give either an imatrix file or calibration text, not both");
  }
  if (options.method.empty()) {
    return MethodNamed(!options.calibration.empty() ? "best"
                       : !options.imatrix.empty()   ? "imatrix"
                                                    : "rtn");
  }
  const Method& method = MethodNamed(options.method);
  if (method.needs >= Needs::kGram && !options.imatrix.empty()) {
    FailUsage("method '{}' measures more than an imatrix file holds: give --calibration",
              method.name);
  }
  if (method.needs == Needs::kMeanSquare && options.imatrix.empty() &&
      options.calibration.empty()) {
    FailUsage("method '{}' needs --imatrix or --calibration", method.name);
  }
  return method;
}

// Files of Hugging Face's kind keep their vectors as they are; what no such file can hold (the
// embedding of a GGUF file on one of its own grids) becomes f16.
TensorChoice ForDialect(const Container& container, const Tensor& tensor, TensorChoice choice) {
  if (container.dialect == Dialect::kGguf) return choice;
  const bool linear = choice.quantize && !choice.grid->plain;
  if (linear) return choice;
  if (container.can_store(*tensor.grid)) return {tensor.grid, false, "", false};
  return {&GridNamed("f16"), true, "", false};
}

// Everything that can be refused is refused here, before calibration spends time.
QuantizePlan MakePlan(std::shared_ptr<const Source> source, const QuantizeOptions& options) {
  QuantizePlan plan;
  RewritePlan& rewrite = plan.rewrite;
  const Preset& preset = PresetNamed(options.grid);
  plan.method = &ChooseMethod(options);
  rewrite.source = std::move(source);
  std::vector<const Tensor*> tensors;
  for (const GgufTensor& t : rewrite.source->tensors) tensors.push_back(&t.tensor);
  const auto choices =
      ChooseGrids(preset, rewrite.source->shape, tensors, plan.method->needs != Needs::kNothing);
  const auto quantized = std::ranges::find_if(
      choices, [](const TensorChoice& c) { return c.quantize && !c.grid->plain; });
  rewrite.container = &ChooseContainer(options.container,
                                       quantized == choices.end() ? F32Grid() : *quantized->grid);

  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!HasPlace(*rewrite.source, rewrite.source->tensors[i], rewrite.container->dialect)) {
      continue;
    }
    Job job{
        &rewrite.source->tensors[i], ForDialect(*rewrite.container, *tensors[i], choices[i]), {}};
    if (job.choice.grid == tensors[i]->grid) job.choice.quantize = false;
    rewrite.file.tensors.push_back(
        {PlaceInDialect(*rewrite.source, *job.source, rewrite.container->dialect).name,
         job.choice.grid, tensors[i]->shape, job.choice.quantize ? nullptr : tensors[i]->order});
    rewrite.jobs.push_back(std::move(job));
  }
  CheckStorable(rewrite);
  rewrite.file.documents = DocumentsFor(*rewrite.source, *rewrite.container, rewrite.file.tensors);
  Metadata& metadata = rewrite.file.metadata;
  metadata = rewrite.source->metadata;
  if (preset.gguf_file_type >= 0) {
    metadata.Set("general.file_type", Value(static_cast<uint32_t>(preset.gguf_file_type)));
  }
  metadata.Set("general.quantization_version", Value(uint32_t{2}));
  metadata.Set("halftone.version", Value(std::string(HALFTONE_VERSION)));
  metadata.Set("halftone.method", Value(std::string(plan.method->name)));
  metadata.Set("halftone.grid", Value(options.grid));
  return plan;
}

QuantizeReport Report(const QuantizePlan& plan, const std::string& output,
                      const QuantizeOptions& options) {
  QuantizeReport report = MakeReport(plan.rewrite, output);
  report.grid = options.grid;
  report.method = plan.method->name;
  return report;
}

// Gives each job its importances and records where they came from, as llama-quantize does.
void AttachImportance(const ImportanceMatrix& importance, const QuantizeOptions& options,
                      RewritePlan& plan) {
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
  ThreadPool pool(options.threads);
  RewriteWriter writer(rewrite, output);
  Progress* progress = options.progress;
  if (progress) progress->Begin("quantize to " + options.grid, rewrite.source->parameters);
  int64_t done = 0;
  for (size_t i = 0; i < rewrite.jobs.size(); ++i) {
    const Job& job = rewrite.jobs[i];
    if (progress && progress->Cancelled()) {
      throw Error(Error::Kind::kCancelled, output + ": cancelled");
    }
    if (job.choice.quantize) {
      const auto start = std::chrono::steady_clock::now();
      report.tensors[i].relative_error = RoundTensor(rewrite, *plan.method, job, pool, writer);
      report.tensors[i].seconds = SecondsSince(start);
    }
    done += job.source->tensor.count();
    if (progress) progress->Advance(done);
  }
  writer.Commit();
  if (progress) progress->End();
}

std::shared_ptr<const Source> Open(const std::string& input) {
  return std::make_shared<const Source>(OpenSource(input));
}

}  // namespace

QuantizeReport Quantize(const std::string& input, const std::string& output,
                        const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  QuantizePlan plan = MakePlan(Open(input), options);
  CheckOutput(input, output, *plan.rewrite.container);
  QuantizeReport report;
  if (plan.method->needs >= Needs::kGram) {
    const CalibrationText calibration = TextFor(options);
    LayerwiseJob job{&plan.rewrite, plan.method, calibration.text, calibration.name, ""};
    job.fingerprint = Fingerprint(*plan.rewrite.source, options, calibration.text);
    plan.rewrite.file.metadata.Set("halftone.fingerprint", Value(job.fingerprint));
    report = Report(plan, output, options);
    RoundLayerwise(job, output, options, report);
  } else {
    if (plan.method->needs == Needs::kMeanSquare) {
      AttachImportance(Importances(input, options), options, plan.rewrite);
    }
    report = Report(plan, output, options);
    RoundStreamed(plan, output, options, report);
  }
  report.seconds = SecondsSince(start);
  return report;
}

QuantizeReport PlanQuantize(const std::string& input, const QuantizeOptions& options) {
  return PlanQuantize(Open(input), options);
}

QuantizeReport PlanQuantize(std::shared_ptr<const Source> source, const QuantizeOptions& options) {
  QuantizePlan plan = MakePlan(std::move(source), options);
  // A file's entries decide the metadata's size; measuring text is what a plan must not do, and its
  // strings are then not counted.
  if (!options.imatrix.empty() && plan.method->needs == Needs::kMeanSquare) {
    AttachImportance(ReadImportanceMatrix(options.imatrix), options, plan.rewrite);
  }
  if (plan.method->needs >= Needs::kGram) {
    plan.rewrite.file.metadata.Set("halftone.fingerprint",
                                   Value(std::string(kFingerprintLength, '0')));
  }
  return Report(plan, "", options);
}

}  // namespace halftone
