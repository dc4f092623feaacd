// An adapter put into the weights: W + scale * B A, row by row as rows are read.
//
// The sum is a tensor of plain numbers. But where all inputs of a group whose weights share an
// offset (grid/move_offsets.h) have the same A, it adds one number to the group's weights, and the
// tensor may stay on its grid with its codes.

#pragma once

#include <map>
#include <string>

#include "tensor/checkpoint.h"

namespace halftone {

// The checkpoint with each tensor that the adapter (a peft folder or a GGUF adapter) changes in
// f32, made from its rows when they are read; nothing is computed yet. Throws Error as
// ReadAdapterModules, and kFormat for an adapter of another model.
Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter);

// The checkpoint with the adapter, each tensor that may keep its codes on its own grid.
struct MergedInPlace {
  Checkpoint checkpoint;
  int64_t moved = 0;                            // tensors that keep their codes
  std::map<std::string, const Grid*> to_round;  // by GGUF's name: grids of those in f32 now
};
MergedInPlace WithAdapterInPlace(Checkpoint checkpoint, const std::string& adapter);

}  // namespace halftone
