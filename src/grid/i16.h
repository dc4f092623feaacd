// Plain 16-bit integers, little-endian.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct I16 {
  static constexpr std::string_view kName = "i16", kTitle = "I16";
  static constexpr int kBlock = 1, kBytes = 2, kGgufType = 25;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = static_cast<float>(LoadLe<int16_t>(block));
  }
};

}  // namespace halftone
