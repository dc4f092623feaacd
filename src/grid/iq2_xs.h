// IQ2_XS: super-blocks of 256; octets of weights on 512 lattice points, signs with an even number
// of minuses. 2.3125 bits a weight.
//
//   byte 0-1    d       f16
//   byte 2-65   octets  32 x u16: bits 0-8 point, bits 9-15 signs (iq_codebooks.h, EvenSigns)
//   byte 66-73  scales  4 bits for every 16 weights, the first in the low half
//   weight = (d * (0.5 + scale) * 0.25) * point * sign
//
// Source: ggml, block_iq2_xs.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ2_XS {
  static constexpr std::string_view kName = "iq2_xs", kTitle = "IQ2_XS";
  static constexpr int kBlock = 256, kBytes = 74, kGgufType = 17;
  static constexpr Importance kImportance = Importance::kRequired;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    for (int octet = 0; octet < 32; ++octet, weights += 8) {
      const unsigned code = LoadLe<uint16_t>(block + 2 + 2 * octet);
      const unsigned scales = block[66 + octet / 4] >> (octet / 2 % 2 * 4) & 15;
      const float scale = d * (0.5f + static_cast<float>(scales)) * 0.25f;
      DecodeOctet(WithSigns(kTwoBit512[code & 511], EvenSigns(code >> 9)), scale, weights);
    }
  }
};

}  // namespace halftone
