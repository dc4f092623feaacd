// Whether a checkpoint's tensors are what its settings say: shapes by role, and no layer beyond
// those that the settings count, which running would silently leave out.

#pragma once

#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "tensor/checkpoint.h"

namespace halftone {

// Throws Error (kFormat) naming the first tensor that has a place in the architecture and another
// shape than it must have, or lies in a layer that does not exist. Missing tensors are not looked
// for.
void CheckShapes(const Checkpoint& checkpoint, const Architecture& architecture,
                 const Hyperparameters& parameters);

}  // namespace halftone
