// Writing AWQ checkpoints in the layout "gemm", the one that all readers take. docs/formats/awq.md.

#pragma once

#include "container/hf_folder_writer.h"

namespace halftone {

// Whether a tensor on this grid keeps its bits: integers of 4 bits with zeros, scales and products
// f16, and plain numbers.
bool CanStoreAwq(const Grid& grid);

// What the plan becomes. Throws Error (kUsage) for tensors that the format cannot hold.
HfFolderPlan LayOutAwq(const CheckpointPlan& plan);

}  // namespace halftone
