// Opening a model to run it, with its weights rounded on the way where that is asked for.

#pragma once

#include <string>

#include "halftone/precision.h"
#include "halftone/progress.h"
#include "tensor/checkpoint.h"

namespace halftone {

// A checkpoint whose linear layers inside the blocks are on the grid that `precision` asks for.
// Nothing is rounded yet but (for double quantization) the scales: rows are rounded when a backend
// reads them (Loaded), in parallel and tensor by tensor, from the mapped source, so that no more
// memory is needed than the rounded tensors take. Throws Error: kUsage for settings that do not
// exist and where no linear layer is plain numbers, kUnsupported for rows that are no whole blocks,
// kFormat, also later, for weights that are not finite, kCancelled, also later. `progress`, if not
// null, is asked by this thread alone, also when it reads rows later.
Checkpoint OpenToRun(const std::string& path, const Precision& precision, int threads,
                     Progress* progress = nullptr);

}  // namespace halftone
