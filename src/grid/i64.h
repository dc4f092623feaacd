// Plain 64-bit integers, little-endian. Decoding to f32 rounds to nearest even; nothing is lost up
// to 2^24.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct I64 {
  static constexpr std::string_view kName = "i64", kTitle = "I64";
  static constexpr int kBlock = 1, kBytes = 8, kGgufType = 27;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = static_cast<float>(LoadLe<int64_t>(block));
  }
};

}  // namespace halftone
