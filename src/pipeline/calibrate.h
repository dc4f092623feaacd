// Importances from calibration text.

#pragma once

#include <string>

#include "calibration/imatrix_file.h"
#include "halftone/quantize.h"
#include "pipeline/text_input.h"

namespace halftone {

// Runs the model over the text file and accumulates E[x^2] of every linear layer's input. The
// matrix carries the text's CalibrationRecord.
ImportanceMatrix MeasureImportance(const std::string& model, const std::string& text_file,
                                   const ImatrixOptions& options);
// The same over a text that is at hand.
ImportanceMatrix MeasureImportanceOn(const std::string& model, const TextInput& calibration,
                                     const ImatrixOptions& options);

}  // namespace halftone
