// IQ1_M: super-blocks of 256; octets of weights on 2048 ternary points, each octet shifted by an
// eighth up or down. 1.75 bits a weight.
//
//   byte 0-31   points  low 8 bits for each octet
//   byte 32-47  4 bits for each octet, the first in the low half:
//                 bits 0-2  high bits of the point
//                 bit 3     shift: set, -1/8, else 1/8
//   byte 48-55  4 x u16, one for every 64 weights:
//                 bits 3k .. 3k+2  scale of the k-th 16 weights
//                 bits 12-15       a quarter of d, an f16; the first u16 has the lowest bits
//   weight = (d * (2 * scale + 1)) * (point + shift)
//
// Source: ggml, block_iq1_m.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ1_M {
  static constexpr std::string_view kName = "iq1_m", kTitle = "IQ1_M";
  static constexpr int kBlock = 256, kBytes = 56, kGgufType = 29;
  static constexpr Importance kImportance = Importance::kOptional;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    unsigned scales[4], d_bits = 0;
    for (int i = 0; i < 4; ++i) {
      scales[i] = LoadLe<uint16_t>(block + 48 + 2 * i);
      d_bits |= (scales[i] >> 12) << (4 * i);
    }
    const float d = F16ToF32(static_cast<uint16_t>(d_bits));
    for (int octet = 0; octet < 32; ++octet, weights += 8) {
      const unsigned high = block[32 + octet / 2] >> (octet % 2 * 4) & 15;
      const unsigned scale_code = scales[octet / 8] >> (octet / 2 % 4 * 3) & 7;
      const float scale = d * static_cast<float>(2 * scale_code + 1);
      const float shift = (high & 8) != 0 ? -0.125f : 0.125f;
      DecodeShiftedOctet(kTernary2048[block[octet] | (high & 7) << 8], scale, shift, weights);
    }
  }
};

}  // namespace halftone
