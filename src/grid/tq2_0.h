// TQ2_0: ternary weights in 2 bits, one f16 scale for each 256. 2.0625 bits a weight.
//
//   byte 0-63   codes  code e is bits 2 * (e % 128 / 32) of byte 32 * (e / 128) + e % 32
//   byte 64-65  d      f16
//   weight e = (code[e] - 1) * d
//
// Source: ggml, block_tq2_0, for BitNet b1.58. The encoder writes codes 0..2 only: d = max|w|,
// code = 1 + round half away from zero of w * (1/d). A fourth code in a file decodes to 2 * d.

#pragma once

#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct TQ2_0 {
  static constexpr std::string_view kName = "tq2_0", kTitle = "TQ2_0";
  static constexpr int kBlock = 256, kBytes = 66, kGgufType = 35;
  static constexpr std::array<float, 3> kCodebook = {-1, 0, 1};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block + 64);
    for (int half = 0; half < 2; ++half, block += 32) {
      for (int shift = 0; shift < 8; shift += 2, weights += 32) {
        for (int m = 0; m < 32; ++m) {
          weights[m] = static_cast<float>((block[m] >> shift & 3) - 1) * d;
        }
      }
    }
  }

  static void EncodeBlock(const float* __restrict weights, uint8_t* __restrict block) {
    const float d = LargestMagnitude<kBlock>(weights);
    const float inverse = InverseOrZero(d);
    for (int half = 0; half < 2; ++half, weights += 128) {
      for (int m = 0; m < 32; ++m) {
        int byte = 0;
        for (int k = 0; k < 4; ++k) {
          byte |= (RoundAway(weights[m + 32 * k] * inverse, -1, 1) + 1) << (2 * k);
        }
        block[32 * half + m] = static_cast<uint8_t>(byte);
      }
    }
    StoreLe(block + 64, FiniteF16(d));
  }
};

}  // namespace halftone
