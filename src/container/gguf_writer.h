// Writing GGUF version 3: everything before the data at once, then tensor after tensor as they
// come.
//
// Byte for byte what ggml and gguf-py write for the same keys, tensors and order: the header is
// padded to the alignment (also without tensors), and so is every tensor, the last one too.
// Dimensions are written as many as the shape has.
//
// With CheckpointPlan::split_bytes the tensors go into parts, each as many of them, in their order,
// as fit (padded, without the header): <prefix>-00001-of-00003.gguf ..., as llama-gguf-split cuts a
// file. The settings lie in the first, and each part has split.no (u16), split.tensors.count (i32)
// and split.count (u16), in this order. What fits into one part is an ordinary file. The parts get their names
// together when all are complete, the first of them last: where it is, all are.

#pragma once

#include "container/container.h"

namespace halftone {

// The size of the file, or of all parts, that CreateGguf with this plan ends in. Throws Error
// (kUsage) for a plan that GGUF cannot hold.
uint64_t GgufBytes(const CheckpointPlan& plan);

// The file, or the first of its parts.
std::filesystem::path GgufOpened(const std::filesystem::path& path, const CheckpointPlan& plan);

// Begins the file. Throws Error (kUsage) as GgufBytes, kIo where the folder cannot be written.
std::unique_ptr<CheckpointWriter> CreateGguf(const std::filesystem::path& path,
                                             const CheckpointPlan& plan);

}  // namespace halftone
