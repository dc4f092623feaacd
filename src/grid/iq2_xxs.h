// IQ2_XXS: super-blocks of 256; octets of weights on 256 lattice points, signs with an even number
// of minuses. 2.0625 bits a weight.
//
//   byte 0-1   d  f16
//   byte 2-65  8 groups of 32 weights: 4 x u8 point of each octet, then u32
//                bits 7l .. 7l+6  signs of octet l (iq_codebooks.h, EvenSigns)
//                bits 28-31       scale
//   weight = (d * (0.5 + scale) * 0.25) * point * sign
//
// Source: ggml, block_iq2_xxs.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ2_XXS {
  static constexpr std::string_view kName = "iq2_xxs", kTitle = "IQ2_XXS";
  static constexpr int kBlock = 256, kBytes = 66, kGgufType = 16;
  static constexpr Importance kImportance = Importance::kRequired;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    for (const uint8_t* group = block + 2; group < block + kBytes; group += 8) {
      const auto tail = LoadLe<uint32_t>(group + 4);
      const float scale = d * (0.5f + static_cast<float>(tail >> 28)) * 0.25f;
      for (int l = 0; l < 4; ++l, weights += 8) {
        const uint8_t signs = EvenSigns(tail >> (7 * l));
        DecodeOctet(WithSigns(kTwoBit256[group[l]], signs), scale, weights);
      }
    }
  }
};

}  // namespace halftone
