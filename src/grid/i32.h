// Plain 32-bit integers, little-endian. Decoding to f32 rounds to nearest even; nothing is lost up
// to 2^24.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct I32 {
  static constexpr std::string_view kName = "i32", kTitle = "I32";
  static constexpr int kBlock = 1, kBytes = 4, kGgufType = 26;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = static_cast<float>(LoadLe<int32_t>(block));
  }
};

}  // namespace halftone
