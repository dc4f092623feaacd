// Plain IEEE 754 binary16, little-endian, rounded to nearest even.

#pragma once

#include "base/half.h"
#include "grid/grid.h"

namespace halftone {

struct F16 {
  static constexpr std::string_view kName = "f16", kTitle = "F16";
  static constexpr int kBlock = 1, kBytes = 2, kGgufType = 1;
  static constexpr bool kPlain = true;

  static void DecodeBlock(const uint8_t* block, float* weights) { *weights = LoadF16(block); }
  static void EncodeBlock(const float* weights, uint8_t* block) { StoreF16(block, *weights); }
};

}  // namespace halftone
