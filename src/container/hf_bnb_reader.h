// Reading the weights of bitsandbytes out of a folder that transformers wrote:
// docs/formats/bitsandbytes.md has every byte.

#pragma once

#include "container/hf_parts.h"

namespace halftone {

// Puts all weights of 4 bits (whatever has a quant_state) and of 8 bits (whatever has an SCB)
// together. Opens no weights, only the small tensors that describe them. Throws Error naming file
// and tensor.
void ReadBnbWeights(HfParts& parts);

}  // namespace halftone
