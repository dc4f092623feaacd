// IQ2_S: super-blocks of 256; octets of weights on 1024 lattice points, any signs.
// 2.5625 bits a weight.
//
//   byte 0-1    d       f16
//   byte 2-33   points  low 8 bits for each octet
//   byte 34-65  signs   of each octet, bit j set: weight j is negative
//   byte 66-73  points  high 2 bits, four octets in a byte, the first lowest
//   byte 74-81  scales  4 bits for every 16 weights, the first in the low half
//   weight = (d * (0.5 + scale) * 0.25) * point * sign
//
// Source: ggml, block_iq2_s.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ2_S {
  static constexpr std::string_view kName = "iq2_s", kTitle = "IQ2_S";
  static constexpr int kBlock = 256, kBytes = 82, kGgufType = 22;
  static constexpr Importance kImportance = Importance::kOptional;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const uint8_t *low = block + 2, *signs = block + 34, *high = block + 66, *scales = block + 74;
    for (int octet = 0; octet < 32; ++octet, weights += 8) {
      const int point = low[octet] | (high[octet / 4] >> (octet % 4 * 2) & 3) << 8;
      const int scale_code = scales[octet / 4] >> (octet / 2 % 2 * 4) & 15;
      const float scale = d * (0.5f + static_cast<float>(scale_code)) * 0.25f;
      DecodeOctet(WithSigns(kTwoBit1024[point], signs[octet]), scale, weights);
    }
  }
};

}  // namespace halftone
