// Rounding a model layer by layer, for methods that need the Gram matrices of the inputs.

#pragma once

#include <string>

#include "engine/chunks.h"
#include "method/method.h"
#include "pipeline/rewrite.h"

namespace halftone {

struct LayerwiseJob {
  const RewritePlan* plan = nullptr;
  const Method* method = nullptr;
  std::string text;         // calibration text
  std::string text_source;  // its name, for messages
  std::string fingerprint;  // of everything that decides the result, for resuming
};

// Rounds every tensor of the plan that is to be quantized and writes the file. report.tensors gain
// what was measured. Finished tensors are kept in a folder beside the output until the file is
// whole; with options.resume those of an interrupted run are taken from there. The result is the
// same.
void RoundLayerwise(const LayerwiseJob& job, const std::string& output,
                    const QuantizeOptions& options, QuantizeReport& report);

}  // namespace halftone
