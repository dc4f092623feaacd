// Merge: an adapter put into the weights, and what each way of keeping the sum costs.

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/seconds.h"
#include "container/container.h"
#include "halftone/finetune.h"
#include "halftone/quantize.h"
#include "pipeline/adapter_files.h"
#include "pipeline/load.h"
#include "pipeline/lock_step.h"
#include "pipeline/temporary_file.h"
#include "pipeline/text_input.h"

namespace halftone {
MergeReport Merge(const std::string& model, const std::string& output,
                  const MergeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.adapter.empty()) FailUsage("there is no adapter to merge");
  const std::shared_ptr<Ops> ops = MakeCpuOps(options.threads, Activations::kF32, options.progress);
  const auto unmerged = LoadToRun(OpenToRun(model, {}, options.threads), options.adapter, ops);

  QuantizeOptions quantize;
  quantize.adapter = options.adapter;
  quantize.calibration = options.calibration;
  quantize.threads = options.threads;
  quantize.progress = options.progress;
  MergeReport report;
  std::vector<TemporaryFile> others;
  std::vector<std::shared_ptr<const LoadedModel>> merged;
  const auto make = [&](const std::string& grid, const std::string& path, bool kept) {
    const auto known = std::ranges::find(report.choices, grid, &MergeChoice::grid);
    if (known != report.choices.end()) return;
    quantize.grid = grid;
    quantize.method = kept ? options.method : "";
    quantize.container = kept ? options.container : "";
    if (!kept) others.emplace_back(path);
    const QuantizeReport made = Quantize(model, path, quantize);
    if (kept) report.output = made.output;
    report.choices.push_back({grid, made.method, made.moved, made.file_bytes, {}, kept});
    merged.push_back(LoadToRun(OpenCheckpoint(made.output), "", ops));
  };
  make(options.grid.empty() ? "f16" : options.grid, output, true);
  for (const std::string& grid : options.compare) {
    make(grid, output + ".compared-" + std::to_string(others.size()), false);
  }
  const TextInput text = options.text.empty() ? BundledText() : ReadTextInput(options.text);
  const ChunkedText chunks =
      ReadChunks(unmerged->checkpoint, text, options.context, options.chunks, options.progress);
  const auto reports =
      EvaluateInLockStep(unmerged, merged, F32Grid(), chunks, options.threads, options.progress);
  for (size_t i = 0; i < reports.size(); ++i) report.choices[i].quality = reports[i];
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace halftone
