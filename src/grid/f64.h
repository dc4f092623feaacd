// Plain IEEE 754 binary64, little-endian. Decoding to f32 rounds to nearest even; what overflows
// becomes infinite.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct F64 {
  static constexpr std::string_view kName = "f64", kTitle = "F64";
  static constexpr int kBlock = 1, kBytes = 8, kGgufType = 28;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = static_cast<float>(LoadLe<double>(block));
  }
};

}  // namespace halftone
