// Plain 8-bit integers.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct I8 {
  static constexpr std::string_view kName = "i8", kTitle = "I8";
  static constexpr int kBlock = 1, kBytes = 1, kGgufType = 24;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = static_cast<float>(LoadLe<int8_t>(block));
  }
};

}  // namespace halftone
