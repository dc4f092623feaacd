// Plain IEEE 754 binary32, little-endian.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct F32 {
  static constexpr std::string_view kName = "f32", kTitle = "F32";
  static constexpr int kBlock = 1, kBytes = 4, kGgufType = 0;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) { *weights = LoadLe<float>(block); }
  static void EncodeBlock(const float* weights, uint8_t* block) { StoreLe(block, *weights); }
};

}  // namespace halftone
