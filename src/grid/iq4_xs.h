// IQ4_XS: super-blocks of 256 in 8 groups of 32, 16 unevenly spaced levels, 6-bit scales.
// 4.25 bits a weight.
//
//   byte 0-1    d         f16
//   byte 2-3    scales_h  u16: bits 2g and 2g+1 are the high 2 bits of scale[g]
//   byte 4-7    scales_l  the low 4 bits of scale[g] in byte g / 2, even g in its low half
//   byte 8-135  codes     8 groups of 16 bytes, 4 bits each (nibbles.h)
//   weight e of group g = e / 32:  (d * (scale[g] - 32)) * level[code[e]]
//
// Source: ggml, block_iq4_xs. The encoder fits each group alone as IQ4_NL's does, the mean square
// in the error being that of the super-block; the fitted scale of largest magnitude becomes -32 *
// d; last every code is chosen anew for the scale that was stored.

#pragma once

#include <algorithm>
#include <cmath>

#include "grid/codebook_search.h"
#include "grid/grid.h"
#include "grid/iq4_nl.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"
#include "grid/scale_search.h"

namespace halftone {

struct IQ4_XS {
  static constexpr std::string_view kName = "iq4_xs", kTitle = "IQ4_XS";
  static constexpr int kBlock = 256, kBytes = 136, kGgufType = 23;
  static constexpr std::array<float, 16> kCodebook = IQ4_NL::kCodebook;
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32,
                                      .levels = kCodebook,
                                      .count = 16,
                                      .step = StepKind::kMultiple,
                                      .scale_low = -32,
                                      .scale_high = 31};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    const unsigned high = LoadLe<uint16_t>(block + 2);
    for (int g = 0; g < 8; ++g) {
      const unsigned low = block[4 + g / 2] >> (4 * (g % 2)) & 15;
      const int scale = static_cast<int>(low | (high >> (2 * g) & 3) << 4);
      const float dl = d * static_cast<float>(scale - 32);
      DecodeNibbles(block + 8 + 16 * g, weights + 32 * g,
                    [dl](int code) { return dl * kCodebook[code]; });
    }
  }

  static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks) {
    for (int64_t at = 0; at < n; at += kBlock, blocks += kBytes) {
      EncodeSuperBlock(w + at, importance == nullptr ? nullptr : importance + at, blocks);
    }
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    StoreF16(block, parameters.unit);
    PackScales(parameters.scale, block);
    for (int g = 0; g < 8; ++g) PackNibbles(codes + 32 * g, block + 8 + 16 * g);
  }

 private:
  static constexpr Levels16 kLevels = Levels16::Of(kCodebook);

  static void EncodeSuperBlock(const float* w, const float* importance, uint8_t* block) {
    float variance[8], scales[8], inverse[8];
    if (importance != nullptr) SumSquares(w, kBlock, 1, variance);
    std::fill_n(variance, 8, importance != nullptr ? variance[0] * (2.0f / kBlock) : 0.0f);
    FitCodebook(kLevels, w, importance, variance, 8, scales);
    float largest = 0;
    for (const float scale : scales) {
      if (std::fabs(scale) > std::fabs(largest)) largest = scale;
    }
    const float d = -largest / 32;
    const float per_d = d != 0 ? 1 / d : 0.0f;
    StoreLe(block, FiniteF16(d));
    int16_t stored[8];
    for (int g = 0; g < 8; ++g) {
      const int scale = std::clamp(NearestInt(per_d * scales[g]), -32, 31);
      const float dl = d * static_cast<float>(scale);
      inverse[g] = dl != 0 ? 1 / dl : 0.0f;
      stored[g] = static_cast<int16_t>(scale);
    }
    PackScales(stored, block);
    uint8_t codes[kBlock];
    RoundToCodebook(kLevels, w, inverse, 8, codes);
    for (int g = 0; g < 8; ++g) PackNibbles(codes + 32 * g, block + 8 + 16 * g);
  }

  // scale[g] in -32..31.
  static void PackScales(const int16_t* scale, uint8_t* block) {
    std::memset(block + 2, 0, 6);
    unsigned high = 0;
    for (int g = 0; g < 8; ++g) {
      const unsigned stored = static_cast<unsigned>(scale[g] + 32);
      block[4 + g / 2] |= static_cast<uint8_t>((stored & 15) << (4 * (g % 2)));
      high |= (stored >> 4) << (2 * g);
    }
    StoreLe(block + 2, static_cast<uint16_t>(high));
  }
};

}  // namespace halftone
