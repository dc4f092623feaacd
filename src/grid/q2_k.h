// Q2_K: super-blocks of 256 in 16 groups of 16, 2-bit codes, 4-bit scales and minima.
// 2.625 bits a weight.
//
//   byte 0-15   scale of group g in the low 4 bits, minimum in the high 4
//   byte 16-79  codes, 2 bits each (super_block.h, PackTwoBits)
//   byte 80-81  d      f16
//   byte 82-83  dmin   f16
//   weight e of group g = e / 16:  (d * scale[g]) * code[e] - dmin * minimum[g]
//
// Source: ggml, block_q2_K. The encoder gives ggml's bytes, with importances and without.

#pragma once

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "grid/grid.h"
#include "grid/super_block.h"

namespace halftone {

struct Q2_K {
  static constexpr std::string_view kName = "q2_k", kTitle = "Q2_K";
  static constexpr int kBlock = kSuperBlock, kBytes = 84, kGgufType = 10;
  static constexpr Importance kImportance = Importance::kOptional;

  static void PackNibbles(const uint8_t* scale, const uint8_t* minimum, uint8_t* packed) {
    for (int g = 0; g < 16; ++g) packed[g] = static_cast<uint8_t>(scale[g] | minimum[g] << 4);
  }
  static void UnpackNibbles(const uint8_t* packed, uint8_t* scale, uint8_t* minimum) {
    for (int g = 0; g < 16; ++g) {
      scale[g] = packed[g] & 15;
      minimum[g] = packed[g] >> 4;
    }
  }

  static constexpr AffineSuperSpec kSpec{
      .group = 16,
      .levels = 3,
      .parameter_levels = 15,
      .weight = ErrorWeight::kMagnitude,
      .variance = 1,
      .plain = {.levels = 3, .first = -0.5f, .step = 0.1f, .steps = 15, .absolute = true},
      .weighted = {.levels = 3, .first = -0.9f, .step = 0.05f, .steps = 36, .absolute = false},
      .wraps = true,
      .pack = &PackNibbles,
      .unpack = &UnpackNibbles};

  static constexpr ScalarGrid kScalar{.group = 16,
                                      .count = 4,
                                      .step = StepKind::kMultiple,
                                      .scale_low = 0,
                                      .scale_high = 15,
                                      .shift = ShiftKind::kMultiple,
                                      .shift_high = 15,
                                      .signed_unit = false};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block + 80), dmin = LoadF16(block + 82);
    float scales[16], minima[16], scale[kBlock], minimum[kBlock];
    for (int g = 0; g < 16; ++g) {
      scales[g] = d * static_cast<float>(block[g] & 15);
      minima[g] = dmin * static_cast<float>(block[g] >> 4);
    }
    SpreadGroups(scales, scale);
    SpreadGroups(minima, minimum);
    const auto value = [&](int e, int code) {
      weights[e] = scale[e] * static_cast<float>(code) - minimum[e];
    };
    for (int half = 0; half < 2; ++half) {
      const uint8_t* q = block + 16 + 32 * half;
      const int e = 128 * half;
      for (int l = 0; l < 32; ++l) value(e + l, q[l] & 3);
      for (int l = 0; l < 32; ++l) value(e + l + 32, q[l] >> 2 & 3);
      for (int l = 0; l < 32; ++l) value(e + l + 64, q[l] >> 4 & 3);
      for (int l = 0; l < 32; ++l) value(e + l + 96, q[l] >> 6);
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
    made.d = LoadLe<uint16_t>(block + 80);
    made.dmin = LoadLe<uint16_t>(block + 82);
    std::memcpy(made.packed, block, 16);
    for (int e = 0; e < kBlock; ++e) {
      const int byte = e / 128 * 32 + e % 32;
      made.codes[e] = block[16 + byte] >> (e % 128 / 32 * 2) & 3;
    }
    return made;
  }

  static void Pack(const AffineSuperBlock& fitted, uint8_t* block) {
    std::memcpy(block, fitted.packed, 16);
    PackTwoBits(fitted.codes, block + 16);
    StoreLe(block + 80, fitted.d);
    StoreLe(block + 82, fitted.dmin);
  }
};

}  // namespace halftone
