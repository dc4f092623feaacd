// Measuring importances: the mean square of the activations that meet each weight.

#pragma once

#include <memory>
#include <string>

#include "calibration/imatrix_file.h"
#include "engine/chunks.h"
#include "engine/session.h"
#include "halftone/progress.h"

namespace halftone {

// Reads all chunks with the model and sums x^2 over every token and each input column, for the
// weights of the layers and, with `process_output`, of the output matrix. `source` is recorded as
// the dataset. The sums are f64 and do not depend on the number of threads.
ImportanceMatrix AccumulateImportance(std::shared_ptr<const LoadedModel> model,
                                      const ChunkedText& chunks, const std::string& source,
                                      bool process_output, Progress* progress);

}  // namespace halftone
