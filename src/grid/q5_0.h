// Q5_0: 5-bit integers around zero, one f16 scale for each 32 weights. 5.5 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-5   codes  fifth bits, u32 (nibbles.h)
//   byte 6-21  codes  4 bits each
//   weight e = (code[e] - 16) * d
//
// Source: ggml, block_q5_0. The encoder is Q4_0's with twice the levels.

#pragma once

#include "grid/grid.h"
#include "grid/group32.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {

struct Q5_0 {
  static constexpr std::string_view kName = "q5_0", kTitle = "Q5_0";
  static constexpr int kBlock = 32, kBytes = 22, kGgufType = 6;
  static constexpr Affine kAffine{5, 32, true};
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32, .first = -16, .count = 32};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    DecodeFiveBits(block + 2, block + 6, weights,
                   [d](int code) { return static_cast<float>(code - 16) * d; });
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float d = FirstLargest<32>(weights) / -16;
    Pack(RoundGroup32(weights, d, 16.5f, 31), block);
  }

  static void EncodeWeightedRow(const float* w, int64_t n, const float* importance,
                                uint8_t* blocks) {
    SearchSymmetric32(16, w, n, importance, blocks, kBytes, &Pack);
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    Pack(ToGroup32(parameters, codes), block);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    UnpackFiveBits(block + 2, block + 6, codes);
  }

 private:
  static void Pack(const Group32& group, uint8_t* block) {
    StoreLe(block, FiniteF16(group.scale));
    PackFiveBits(group.codes, block + 2, block + 6);
  }
};

}  // namespace halftone
