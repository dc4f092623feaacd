// Q4_0: 4-bit integers around zero, one f16 scale for each 32 weights. 4.5 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-17  codes  4 bits each (nibbles.h)
//   weight e = (code[e] - 8) * d
//
// Source: ggml, block_q4_0. Without importances the encoder is ggml's reference: the first weight
// of largest magnitude becomes code 0, so d = that / -8, and code = trunc(w * (1/d) + 8.5) with 1/d
// taken from d before it is rounded to f16. With importances the scale is searched (group32.h).

#pragma once

#include "grid/grid.h"
#include "grid/group32.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {

struct Q4_0 {
  static constexpr std::string_view kName = "q4_0", kTitle = "Q4_0";
  static constexpr int kBlock = 32, kBytes = 18, kGgufType = 2;
  static constexpr Affine kAffine{4, 32, true};
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32, .first = -8, .count = 16};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    DecodeNibbles(block + 2, weights, [d](int code) { return static_cast<float>(code - 8) * d; });
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float d = FirstLargest<32>(weights) / -8;
    Pack(RoundGroup32(weights, d, 8.5f, 15), block);
  }

  static void EncodeWeightedRow(const float* w, int64_t n, const float* importance,
                                uint8_t* blocks) {
    SearchSymmetric32(8, w, n, importance, blocks, kBytes, &Pack);
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    Pack(ToGroup32(parameters, codes), block);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    UnpackNibbles(block + 2, codes);
  }

 private:
  static void Pack(const Group32& group, uint8_t* block) {
    StoreLe(block, FiniteF16(group.scale));
    PackNibbles(group.codes, block + 2);
  }
};

}  // namespace halftone
