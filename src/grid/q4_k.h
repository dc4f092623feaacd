// Q4_K: super-blocks of 256 in 8 groups of 32, 4-bit codes, 6-bit scales and minima.
// 4.5 bits a weight.
//
//   byte 0-1     d      f16
//   byte 2-3     dmin   f16
//   byte 4-15    scales and minima (super_block.h, PackSixBitPairs)
//   byte 16-143  codes: code e is in byte 32 * (e / 64) + e % 32, low 4 bits where e % 64 < 32
//   weight e of group g = e / 32:  (d * scale[g]) * code[e] - dmin * minimum[g]
//
// Source: ggml, block_q4_K. The encoder gives ggml's bytes, with importances and without.

#pragma once

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "grid/grid.h"
#include "grid/super_block.h"

namespace halftone {

struct Q4_K {
  static constexpr std::string_view kName = "q4_k", kTitle = "Q4_K";
  static constexpr int kBlock = kSuperBlock, kBytes = 144, kGgufType = 12;
  static constexpr Importance kImportance = Importance::kOptional;
  static constexpr AffineSuperSpec kSpec{
      .group = 32,
      .levels = 15,
      .parameter_levels = 63,
      .weight = ErrorWeight::kRmsPlusMagnitude,
      .variance = 2,
      .plain = {.levels = 15, .first = -1.0f, .step = 0.1f, .steps = 20, .absolute = false},
      .weighted = {.levels = 15, .first = -0.9f, .step = 0.05f, .steps = 36, .absolute = false},
      .wraps = true,
      .pack = &PackSixBitPairs,
      .unpack = &UnpackSixBitPairs};

  static constexpr ScalarGrid kScalar{.group = 32,
                                      .count = 16,
                                      .step = StepKind::kMultiple,
                                      .scale_low = 0,
                                      .scale_high = 63,
                                      .shift = ShiftKind::kMultiple,
                                      .shift_high = 63,
                                      .signed_unit = false};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block), dmin = LoadF16(block + 2);
    uint8_t scale[8], minimum[8];
    UnpackSixBitPairs(block + 4, scale, minimum);
    const uint8_t* q = block + 16;
    for (int g = 0; g < 8; g += 2, q += 32, weights += 64) {
      const float scale0 = d * static_cast<float>(scale[g]);
      const float scale1 = d * static_cast<float>(scale[g + 1]);
      const float minimum0 = dmin * static_cast<float>(minimum[g]);
      const float minimum1 = dmin * static_cast<float>(minimum[g + 1]);
      for (int l = 0; l < 32; ++l) weights[l] = scale0 * static_cast<float>(q[l] & 15) - minimum0;
      for (int l = 0; l < 32; ++l) {
        weights[32 + l] = scale1 * static_cast<float>(q[l] >> 4) - minimum1;
      }
    }
  }

  static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks) {
    AffineSuperBlock fitted[kSuperBatch];
    for (int64_t at = 0; at < n; at += kSuperBatch * kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kSuperBatch, (n - at) / kBlock));
      FitAffineSuperBlocks(kSpec, w + at, importance == nullptr ? nullptr : importance + at, count,
                           fitted);
      for (int b = 0; b < count; ++b, blocks += kBytes) Pack(fitted[b], blocks);
    }
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    Pack(ToAffineSuperBlock(kSpec, parameters, codes), block);
  }

  static void UnpackScalar(const Grid& /*grid*/, const uint8_t* block, BlockParameters& parameters,
                           uint8_t* codes) {
    FromAffineSuperBlock(kSpec, Unpack(block), parameters, codes);
  }

 private:
  static AffineSuperBlock Unpack(const uint8_t* block) {
    AffineSuperBlock made;
    made.d = LoadLe<uint16_t>(block);
    made.dmin = LoadLe<uint16_t>(block + 2);
    std::memcpy(made.packed, block + 4, 12);
    const uint8_t* q = block + 16;
    for (int e = 0; e < kBlock; e += 64, q += 32) {
      for (int l = 0; l < 32; ++l) {
        made.codes[e + l] = q[l] & 15;
        made.codes[e + l + 32] = q[l] >> 4;
      }
    }
    return made;
  }

  static void Pack(const AffineSuperBlock& fitted, uint8_t* block) {
    StoreLe(block, fitted.d);
    StoreLe(block + 2, fitted.dmin);
    std::memcpy(block + 4, fitted.packed, 12);
    const uint8_t* codes = fitted.codes;
    uint8_t* q = block + 16;
    for (int pair = 0; pair < 4; ++pair, codes += 64, q += 32) {
      for (int l = 0; l < 32; ++l) q[l] = static_cast<uint8_t>(codes[l] | codes[l + 32] << 4);
    }
  }
};

}  // namespace halftone
