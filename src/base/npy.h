// Writing numpy's .npy files (format version 1.0, little-endian f32, C order).

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace halftone {

// Writes `values` with the given shape, atomically. The product of `shape` must be values.size().
void WriteNpy(const std::filesystem::path& path, std::span<const int64_t> shape,
              std::span<const float> values);

}  // namespace halftone
