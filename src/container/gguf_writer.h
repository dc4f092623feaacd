// Writing GGUF version 3: everything before the data at once, then tensor after tensor as they
// come.
//
// Byte for byte what ggml and gguf-py write for the same keys, tensors and order: the header is
// padded to the alignment (also without tensors), and so is every tensor, the last one too.
// Dimensions are written as many as the shape has.

#pragma once

#include "container/container.h"

namespace halftone {

// The size of the file that CreateGguf with this plan ends in. Throws Error (kUsage) for a plan
// that GGUF cannot hold.
uint64_t GgufBytes(const CheckpointPlan& plan);

// Begins the file. Throws Error (kUsage) as GgufBytes, kIo where the folder cannot be written.
std::unique_ptr<CheckpointWriter> CreateGguf(const std::filesystem::path& path,
                                             const CheckpointPlan& plan);

}  // namespace halftone
