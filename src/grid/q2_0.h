// Q2_0: 2-bit integers, one f16 scale for each 64 weights. 2.25 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-17  codes  code e is bits 2 * (e % 4) of byte 2 + e / 4
//   weight e = (code[e] - 1) * d
//
// Source: ggml, block_q2_0. The encoder is ggml's: d = max|w|, code = 1 + round half away from zero
// of w * (1/d), so the level 2 * d is never used.

#pragma once

#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct Q2_0 {
  static constexpr std::string_view kName = "q2_0", kTitle = "Q2_0";
  static constexpr int kBlock = 64, kBytes = 18, kGgufType = 42;
  static constexpr Affine kAffine{2, 64, true};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block);
    for (int word = 0; word < 4; ++word, weights += 16) {
      const auto codes = LoadLe<uint32_t>(block + 2 + 4 * word);
#pragma GCC unroll 1
      for (uint32_t e = 0; e < 16; ++e) {
        weights[e] = static_cast<float>(static_cast<int>(codes >> (2 * e) & 3) - 1) * d;
      }
    }
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float d = LargestMagnitude<kBlock>(weights);
    // Where 1/d overflows ggml's code is 0 for every weight.
    const float inverse = InverseOrNan(d);
    StoreLe(block, FiniteF16(d));
    uint8_t codes[kBlock];
    for (int e = 0; e < kBlock; ++e) {
      codes[e] = static_cast<uint8_t>(RoundAway(weights[e] * inverse, -1, 1) + 1);
    }
    for (int byte = 0; byte < 16; ++byte) {
      const uint8_t* c = codes + 4 * byte;
      block[2 + byte] = static_cast<uint8_t>(c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6);
    }
  }
};

}  // namespace halftone
