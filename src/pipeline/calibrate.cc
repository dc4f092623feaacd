#include "pipeline/calibrate.h"

#include <chrono>

#include "base/error.h"
#include "base/seconds.h"
#include "calibration/importance.h"
#include "container/container.h"
#include "engine/session.h"
#include "pipeline/adapter_files.h"
#include "pipeline/overlap.h"

namespace halftone {

ImportanceMatrix MeasureImportance(const std::string& model, const std::string& text_file,
                                   const ImatrixOptions& options) {
  return MeasureImportanceOn(model, ReadTextInput(text_file), options);
}

ImportanceMatrix MeasureImportanceOn(const std::string& model, const TextInput& calibration,
                                     const ImatrixOptions& options) {
  const auto loaded = LoadToRun(
      OpenCheckpoint(model), options.adapter,
      std::shared_ptr<Ops>(MakeCpuOps(options.threads, Activations::kF32, options.progress)));
  const ChunkedText chunks = ReadChunks(loaded->checkpoint, calibration, options.context,
                                        options.chunks, options.progress);
  ImportanceMatrix matrix = AccumulateImportance(loaded, chunks, calibration.name,
                                                 options.process_output, options.progress);
  WriteRecord(RecordOf(calibration.name, PlainText(calibration)), matrix.own);
  return matrix;
}

ImatrixReport ComputeImatrix(const std::string& model, const std::string& text_file,
                             const std::string& output, const ImatrixOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const ImportanceMatrix matrix = MeasureImportance(model, text_file, options);
  WriteImportanceMatrix(matrix, output);
  ImatrixReport report;
  report.chunks = matrix.chunk_count;
  report.tokens = matrix.chunk_count * matrix.chunk_size;
  report.entries = static_cast<int64_t>(matrix.entries.size());
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace halftone
