// Q5_1: 32 evenly spaced levels from a minimum upwards, an f16 scale and minimum for each 32
// weights. 6 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-3   m      f16
//   byte 4-7   codes  fifth bits, u32 (nibbles.h)
//   byte 8-23  codes  4 bits each
//   weight e = code[e] * d + m
//
// Source: ggml, block_q5_1. The encoder is Q4_1's with twice the levels.

#pragma once

#include "grid/grid.h"
#include "grid/group32.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {

struct Q5_1 {
  static constexpr std::string_view kName = "q5_1", kTitle = "Q5_1";
  static constexpr int kBlock = 32, kBytes = 24, kGgufType = 7;
  static constexpr Affine kAffine{5, 32, false};
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32, .count = 32, .shift = ShiftKind::kOwn};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block), m = LoadF16(block + 2);
    DecodeFiveBits(block + 4, block + 8, weights,
                   [d, m](int code) { return static_cast<float>(code) * d + m; });
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    Pack(RoundGroup32FromMinimum(weights, 31), block);
  }

  static void EncodeWeightedRow(const float* w, int64_t n, const float* importance,
                                uint8_t* blocks) {
    SearchAffine32(31, w, n, importance, blocks, kBytes, &Pack);
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    Pack(ToGroup32(parameters, codes), block);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    parameters.shift_unit = LoadF16(block + 2);
    UnpackFiveBits(block + 4, block + 8, codes);
  }

 private:
  static void Pack(const Group32& group, uint8_t* block) {
    StoreLe(block, FiniteF16(group.scale));
    StoreLe(block + 2, FiniteF16(group.minimum));
    PackFiveBits(group.codes, block + 4, block + 8);
  }
};

}  // namespace halftone
