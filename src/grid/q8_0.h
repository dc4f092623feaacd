// Q8_0: 8-bit integers around zero, one f16 scale for each 32 weights. 8.5 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-33  q      32 x i8
//   weight e = q[e] * d
//
// Source: ggml, block_q8_0. The encoder is ggml's reference: d = max|w| / 127, q = round half away
// from zero of w * (1/d), with 1/d taken from d before it is rounded to f16.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct Q8_0 {
  static constexpr std::string_view kName = "q8_0", kTitle = "Q8_0";
  static constexpr int kBlock = 32, kBytes = 34, kGgufType = 8;
  static constexpr Affine kAffine{8, 32, true};

  static constexpr ScalarGrid kScalar{.group = 32, .first = -127, .count = 255, .spare = 1};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const auto* q = reinterpret_cast<const int8_t*>(block + 2);
    for (int e = 0; e < 32; ++e) weights[e] = static_cast<float>(q[e]) * d;
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float d = LargestMagnitude<32>(weights) / 127;
    const float inverse = InverseOrZero(d);
    StoreLe(block, FiniteF16(d));
    int8_t q[32];
    for (int e = 0; e < 32; ++e) {
      q[e] = static_cast<int8_t>(RoundAway(weights[e] * inverse, -127, 127));
    }
    std::memcpy(block + 2, q, sizeof q);
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    StoreF16(block, parameters.unit);
    for (int e = 0; e < 32; ++e) block[2 + e] = static_cast<uint8_t>(codes[e] - 127);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    for (int e = 0; e < 32; ++e) codes[e] = static_cast<uint8_t>(block[2 + e] + 127);
  }
};

}  // namespace halftone
