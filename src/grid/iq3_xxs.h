// IQ3_XXS: super-blocks of 256; fours of weights on 256 lattice points, signs of octets with an
// even number of minuses. 3.0625 bits a weight.
//
//   byte 0-1    d       f16
//   byte 2-65   points  8 bits for every 4 weights
//   byte 66-97  8 x u32, one for every 32 weights:
//                 bits 7l .. 7l+6  signs of octet l (iq_codebooks.h, EvenSigns)
//                 bits 28-31       scale
//   weight = (d * (0.5 + scale) * 0.5) * point * sign
//
// Source: ggml, block_iq3_xxs.

#pragma once

#include "base/half.h"
#include "grid/grid.h"
#include "grid/iq_codebooks.h"

namespace halftone {

struct IQ3_XXS {
  static constexpr std::string_view kName = "iq3_xxs", kTitle = "IQ3_XXS";
  static constexpr int kBlock = 256, kBytes = 98, kGgufType = 18;
  static constexpr Importance kImportance = Importance::kOptional;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const uint8_t* points = block + 2;
    for (int group = 0; group < 8; ++group) {
      const auto tail = LoadLe<uint32_t>(block + 66 + 4 * group);
      const float scale = d * (0.5f + static_cast<float>(tail >> 28)) * 0.5f;
      for (int l = 0; l < 4; ++l, points += 2, weights += 8) {
        const uint64_t octet = kThreeBit256[points[0]] | uint64_t{kThreeBit256[points[1]]} << 32;
        DecodeOctet(WithSigns(octet, EvenSigns(tail >> (7 * l))), scale, weights);
      }
    }
  }
};

}  // namespace halftone
