// An adapter put into the weights: W + scale * B A, row by row as rows are read.

#pragma once

#include <string>

#include "tensor/checkpoint.h"

namespace halftone {

// The checkpoint with each tensor that the adapter (a peft folder or a GGUF adapter) changes in
// f32, made from its rows when they are read; nothing is computed yet. Throws Error as
// ReadAdapterModules, and kFormat for an adapter of another model.
Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter);

}  // namespace halftone
