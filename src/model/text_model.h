// The text model of a Hugging Face folder under the names that the rest of the library expects.
//
// Models of text and images put the text model's tensors under a prefix of their own and have
// others beside them; some versions of transformers keep a layer's experts in two tensors,
// "experts.gate_up_proj" [experts, 2 * feed_forward, width] and "experts.down_proj" [experts,
// width, feed_forward], instead of three for each expert.

#pragma once

#include "tensor/checkpoint.h"

namespace halftone {

// The checkpoint with its text model's tensors alone, named as transformers' class for text names
// them, each expert's apart. GGUF checkpoints, those of unknown architectures, and those that need
// nothing of it stay as they are. Throws Error (kFormat) for experts of another shape.
Checkpoint TextModelOf(Checkpoint checkpoint);

}  // namespace halftone
