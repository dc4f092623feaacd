// Rounding a model layer by layer, for methods that need the Gram matrices of the inputs.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "method/transform.h"
#include "pipeline/text_input.h"
#include "pipeline/rewrite.h"

namespace halftone {

struct LayerwiseJob {
  const RewritePlan* plan = nullptr;
  Recipe recipe;
  TextInput calibration;
  std::string fingerprint;  // of everything that decides the result, for resuming
  // Parallel to the plan's jobs: where it is not null, the columns are sorted by the power of what
  // meets them before they are rounded, and this becomes the order (the plan's tensor refers to
  // it).
  std::vector<std::shared_ptr<std::vector<int32_t>>> orders;
};

// Rounds every tensor of the plan that is to be quantized and writes the file. report.tensors gain
// what was measured. Finished tensors are kept in a folder beside the output until the file is
// whole; with options.resume those of an interrupted run are taken from there. The result is the
// same.
void RoundLayerwise(const LayerwiseJob& job, const std::string& output,
                    const QuantizeOptions& options, QuantizeReport& report);

}  // namespace halftone
