// IQ3_S: super-blocks of 256; fours of weights on 512 points, any signs. 3.4375 bits a weight.
//
//   byte 0-1      d       f16
//   byte 2-65     points  low 8 bits for every 4 weights
//   byte 66-73    points  ninth bits: bit k of byte g is that of four k of group g (32 weights)
//   byte 74-105   signs   of each octet, bit j set: weight j is negative
//   byte 106-109  scales  4 bits for every 32 weights, the first in the low half
//   weight = (d * (1 + 2 * scale)) * point * sign
//
// Source: ggml, block_iq3_s.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ3_S {
  static constexpr std::string_view kName = "iq3_s", kTitle = "IQ3_S";
  static constexpr int kBlock = 256, kBytes = 110, kGgufType = 21;
  static constexpr Importance kImportance = Importance::kOptional;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const uint8_t *points = block + 2, *ninth = block + 66, *signs = block + 74;
    for (int group = 0; group < 8; ++group) {
      const int scale_code = block[106 + group / 2] >> (group % 2 * 4) & 15;
      const float scale = d * static_cast<float>(1 + 2 * scale_code);
      for (int l = 0; l < 4; ++l, points += 2, ++signs, weights += 8) {
        const unsigned high = ninth[group] >> (2 * l);
        const uint64_t octet = kThreeBit512[points[0] | (high & 1) << 8] |
                               uint64_t{kThreeBit512[points[1] | (high & 2) << 7]} << 32;
        DecodeOctet(WithSigns(octet, *signs), scale, weights);
      }
    }
  }
};

}  // namespace halftone
