// Reading GGUF: maps the file, validates everything before the data section, touches no tensor
// data.

#pragma once

#include <filesystem>

#include "tensor/checkpoint.h"

namespace halftone {

// Opens a GGUF file, or all parts of a split model by any of them, whose names must be
// llama-gguf-split's; the checkpoint's path is the first's. Tensors are in file order. The settings
// are those of the first part; where there are several parts, the split.* keys are
// left out, since the checkpoint is whole. Throws Error naming the file, key or tensor and byte
// offset.
Checkpoint ReadGguf(const std::filesystem::path& path);

}  // namespace halftone
