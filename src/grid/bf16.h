// Plain bfloat16 (the upper half of an f32), little-endian, rounded to nearest even.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct Bf16 {
  static constexpr std::string_view kName = "bf16", kTitle = "BF16";
  static constexpr int kBlock = 1, kBytes = 2, kGgufType = 30;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    *weights = Bf16ToF32(LoadLe<uint16_t>(block));
  }
  static void EncodeBlock(const float* weights, uint8_t* block) {
    StoreLe(block, F32ToBf16(*weights));
  }
};

}  // namespace halftone
