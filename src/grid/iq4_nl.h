// IQ4_NL: 16 unevenly spaced levels, denser around zero, and one f16 scale for each 32 weights.
// 4.5 bits a weight.
//
//   byte 0-1   d      f16
//   byte 2-17  codes  4 bits each (nibbles.h)
//   weight e = d * level[code[e]]
//
// Source: ggml, block_iq4_nl. The encoder searches the scale (codebook_search.h) as ggml's does,
// the error of weight w counting w^2, or with importances importance * sqrt(2 * mean square of the
// block
// + w^2).

#pragma once

#include <algorithm>

#include "grid/codebook_search.h"
#include "grid/grid.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"
#include "grid/scale_search.h"

namespace halftone {

struct IQ4_NL {
  static constexpr std::string_view kName = "iq4_nl", kTitle = "IQ4_NL";
  static constexpr int kBlock = 32, kBytes = 18, kGgufType = 20;
  static constexpr std::array<float, 16> kCodebook = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
  static constexpr Importance kImportance = Importance::kOptional;

  static constexpr ScalarGrid kScalar{.group = 32, .levels = kCodebook, .count = 16};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block);
    DecodeNibbles(block + 2, weights, [d](int code) { return d * kCodebook[code]; });
  }

  static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks) {
    constexpr int kBatch = 16;
    for (int64_t at = 0; at < n; at += kBatch * kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBatch, (n - at) / kBlock));
      float variance[kBatch], scale[kBatch], inverse[kBatch];
      uint8_t codes[kBatch * kBlock];
      SumSquares(w + at, kBlock, count, variance);
      for (int b = 0; b < count; ++b) variance[b] *= 2.0f / kBlock;
      FitCodebook(kLevels, w + at, importance == nullptr ? nullptr : importance + at, variance,
                  count, scale);
      for (int b = 0; b < count; ++b) inverse[b] = scale[b] != 0 ? 1 / scale[b] : 0.0f;
      RoundToCodebook(kLevels, w + at, inverse, count, codes);
      for (int b = 0; b < count; ++b, blocks += kBytes) {
        StoreLe(blocks, FiniteF16(scale[b]));
        PackNibbles(codes + b * kBlock, blocks + 2);
      }
    }
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    StoreF16(block, parameters.unit);
    PackNibbles(codes, block + 2);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    parameters.unit = LoadF16(block);
    UnpackNibbles(block + 2, codes);
  }

 private:
  static constexpr Levels16 kLevels = Levels16::Of(kCodebook);
};

}  // namespace halftone
