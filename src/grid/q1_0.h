// Q1_0: signs, one f16 magnitude for each 128 weights. 1.125 bits a weight.
//
//   byte 0-1   d     f16
//   byte 2-17  bits  weight e is bit e % 8 of byte 2 + e / 8
//   weight e = bit ? d : -d
//
// Source: ggml, block_q1_0. The encoder: d = mean|w|, summed in order; bit = w >= 0.

#pragma once

#include <cmath>

#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct Q1_0 {
  static constexpr std::string_view kName = "q1_0", kTitle = "Q1_0";
  static constexpr int kBlock = 128, kBytes = 18, kGgufType = 41;
  static constexpr std::array<float, 2> kCodebook = {-1, 1};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block);
    for (int word = 0; word < 4; ++word, weights += 32) {
      const auto bits = LoadLe<uint32_t>(block + 2 + 4 * word);
      for (uint32_t e = 0; e < 32; ++e) weights[e] = (bits >> e & 1) != 0 ? d : -d;
    }
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    float sum = 0;
    for (int e = 0; e < kBlock; ++e) sum += std::fabs(weights[e]);
    StoreLe(block, FiniteF16(sum / kBlock));
    for (int word = 0; word < 4; ++word, weights += 32) {
      uint32_t bits = 0;
      for (int e = 0; e < 32; ++e) bits |= static_cast<uint32_t>(weights[e] >= 0 ? 1 : 0) << e;
      StoreLe(block + 2 + 4 * word, bits);
    }
  }
};

}  // namespace halftone
