// Reading the weights of compressed-tensors: docs/formats/compressed-tensors.md has every byte.

#pragma once

#include "container/hf_parts.h"

namespace halftone {

// Puts together all weights that are stored compressed. What a weight's tensors are says how; the
// configuration must have a group that agrees. Opens no weights, only their shapes and group
// indices. Throws Error naming file and tensor.
void ReadCtWeights(HfParts& parts);

}  // namespace halftone
