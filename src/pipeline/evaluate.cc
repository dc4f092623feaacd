#include "halftone/evaluate.h"

#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/seconds.h"
#include "container/container.h"
#include "engine/session.h"
#include "evaluation/memory.h"
#include "evaluation/speed.h"
#include "pipeline/adapter_files.h"
#include "pipeline/load.h"
#include "pipeline/lock_step.h"
#include "pipeline/overlap.h"
#include "pipeline/text_input.h"

namespace halftone {

EvaluateReport Evaluate(const std::string& model, const std::string& text_file,
                        const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const TextInput text = ReadTextInput(text_file);
  Progress* progress = options.progress;
  const std::shared_ptr<Ops> ops = MakeCpuOps(options.threads, Activations::kF32, progress);
  const auto loaded = LoadToRun(
      OpenToRun(model, options.precision, options.threads, progress), options.adapter,
      options.activations == Activations::kF32
          ? ops
          : std::shared_ptr<Ops>(MakeCpuOps(options.threads, options.activations, progress)));
  std::shared_ptr<const LoadedModel> reference;
  if (!options.reference.empty()) {
    reference = LoadToRun(
        OpenToRun(options.reference, {}, options.threads, progress),
        options.reference_adapter, ops);
  }
  if (const auto calibrated = ReadRecord(loaded->checkpoint.metadata)) {
    NoteOverlap(calibrated->sketch, PlainText(text), progress);
  }
  const ChunkedText chunks =
      ReadChunks(loaded->checkpoint, text, options.context, options.chunks, progress);
  EvaluateReport report = EvaluateInLockStep(reference, {loaded}, GridNamed(options.kv_grid),
                                             chunks, options.threads, progress)
                              .front();
  report.seconds = SecondsSince(start);
  return report;
}

std::vector<float> EvaluateLogits(const std::string& model, const std::vector<int32_t>& tokens,
                                  int threads, int64_t* vocabulary, const Precision& precision,
                                  const std::string& kv_grid, const std::string& adapter) {
  if (tokens.empty()) FailUsage("no tokens were given");
  const auto loaded = LoadToRun(OpenToRun(model, precision, threads), adapter,
                                std::shared_ptr<Ops>(MakeCpuOps(threads)));
  const auto count = static_cast<int64_t>(tokens.size());
  *vocabulary = loaded->weights.parameters.vocabulary;
  std::vector<float> logits(static_cast<size_t>(count * *vocabulary));
  Session(loaded, count, GridNamed(kv_grid)).Append(tokens, count, logits.data());
  return logits;
}

BenchReport Bench(const std::string& model, const BenchOptions& options) {
  BenchReport report;
  ResetPeakMemory();
  const auto start = std::chrono::steady_clock::now();
  const auto loaded = std::make_shared<const LoadedModel>(
      OpenToRun(model, options.precision, options.threads, options.progress),
      std::shared_ptr<Ops>(MakeCpuOps(options.threads, options.activations, options.progress)));
  report.load_seconds = SecondsSince(start);
  MeasureSpeed(loaded, options, report);
  report.peak_bytes = PeakMemory();
  report.machine_gbps = MeasureReadBandwidth(options.threads, options.progress);
  return report;
}

}  // namespace halftone
