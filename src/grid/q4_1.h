// Q4_1: 16 evenly spaced levels from a minimum upwards, an f16 scale and minimum for each 32
// weights. 5 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-3   m      f16
//   byte 4-19  codes  4 bits each (nibbles.h)
//   weight e = code[e] * d + m
//
// Source: ggml, block_q4_1. Without importances the encoder is ggml's reference: m = min w,
// d = (max w - min w) / 15, code = trunc((w - m) * (1/d) + 0.5), all before rounding to f16. With
// importances scale and minimum are searched (group32.h).

#pragma once

#include "grid/grid.h"
#include "grid/group32.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {

struct Q4_1 {
  static constexpr std::string_view kName = "q4_1", kTitle = "Q4_1";
  static constexpr int kBlock = 32, kBytes = 20, kGgufType = 3;
  static constexpr Affine kAffine{4, 32, false};
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32, .count = 16, .shift = ShiftKind::kOwn};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block), m = LoadF16(block + 2);
    DecodeNibbles(block + 4, weights,
                  [d, m](int code) { return static_cast<float>(code) * d + m; });
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    Pack(RoundGroup32FromMinimum(weights, 15), block);
  }

  static void EncodeWeightedRow(const float* w, int64_t n, const float* importance,
                                uint8_t* blocks) {
    SearchAffine32(15, w, n, importance, blocks, kBytes, &Pack);
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    Pack(ToGroup32(parameters, codes), block);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    parameters.shift_unit = LoadF16(block + 2);
    UnpackNibbles(block + 4, codes);
  }

 private:
  static void Pack(const Group32& group, uint8_t* block) {
    StoreLe(block, FiniteF16(group.scale));
    StoreLe(block + 2, FiniteF16(group.minimum));
    PackNibbles(group.codes, block + 4);
  }
};

}  // namespace halftone
