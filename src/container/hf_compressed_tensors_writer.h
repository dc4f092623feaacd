// Writing the weights of compressed-tensors: docs/formats/compressed-tensors.md. Integers of 2, 3,
// 4 and 8 bits become pack-quantized, 8-bit floats float-quantized, MXFP4 mxfp4-pack-quantized.

#pragma once

#include "container/container.h"

namespace halftone {

bool CanStoreCt(const Grid& grid);

uint64_t CtBytes(const CheckpointPlan& plan);

// Throws Error (kUsage) for a plan that a folder of compressed-tensors cannot hold: quantized
// tensors that are no linear layer's matrix, columns in an order of their own.
std::unique_ptr<CheckpointWriter> CreateCt(const std::filesystem::path& path,
                                           const CheckpointPlan& plan);

}  // namespace halftone
