// IQ1_S: super-blocks of 256; octets of weights on 2048 ternary points, shifted by an eighth up or
// down. 1.5625 bits a weight.
//
//   byte 0-1    d       f16
//   byte 2-33   points  low 8 bits for each octet
//   byte 34-49  8 x u16, one for every 32 weights:
//                 bits 3l .. 3l+2  high bits of the point of octet l
//                 bits 12-14       scale
//                 bit 15           shift: set, -1/8, else 1/8
//   weight = (d * (2 * scale + 1)) * (point + shift)
//
// Source: ggml, block_iq1_s.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ1_S {
  static constexpr std::string_view kName = "iq1_s", kTitle = "IQ1_S";
  static constexpr int kBlock = 256, kBytes = 50, kGgufType = 19;
  static constexpr Importance kImportance = Importance::kRequired;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const uint8_t* points = block + 2;
    for (int group = 0; group < 8; ++group) {
      const unsigned tail = LoadLe<uint16_t>(block + 34 + 2 * group);
      const float scale = d * static_cast<float>(2 * (tail >> 12 & 7) + 1);
      const float shift = (tail & 0x8000) != 0 ? -0.125f : 0.125f;
      for (int l = 0; l < 4; ++l, ++points, weights += 8) {
        DecodeShiftedOctet(kTernary2048[*points | (tail >> (3 * l) & 7) << 8], scale, shift,
                           weights);
      }
    }
  }
};

}  // namespace halftone
