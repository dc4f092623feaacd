// Q6_K: super-blocks of 256 in 16 groups of 16, symmetric 6-bit codes -32..31, 8-bit signed scales.
// 6.5625 bits a weight.
//
//   byte 0-127    bits 0-3 of the codes: code e, with r = e % 128, in byte 64 * (e / 128) + r % 64,
//                 low 4 bits where r < 64
//   byte 128-191  bits 4-5: bits 2 * (r / 32) of byte 128 + 32 * (e / 128) + r % 32
//   byte 192-207  scales  16 x i8
//   byte 208-209  d       f16
//   weight e of group g = e / 16:  (d * scale[g]) * (code[e] - 32)
//
// Source: ggml, block_q6_K. The encoder gives ggml's bytes, with importances and without.

#pragma once

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "grid/grid.h"
#include "grid/super_block.h"

namespace halftone {

struct Q6_K {
  static constexpr std::string_view kName = "q6_k", kTitle = "Q6_K";
  static constexpr int kBlock = kSuperBlock, kBytes = 210, kGgufType = 14;
  static constexpr Importance kImportance = Importance::kOptional;
  static constexpr int kGroup = 16, kGroups = 16, kLevels = 32;

  static constexpr ScalarGrid kScalar{.group = 16,
                                      .first = -32,
                                      .count = 64,
                                      .step = StepKind::kMultiple,
                                      .scale_low = -128,
                                      .scale_high = 127};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block + 208);
    const auto* packed = reinterpret_cast<const int8_t*>(block + 192);
    float scales[kGroups], scale[kBlock];
    for (int g = 0; g < kGroups; ++g) scales[g] = d * static_cast<float>(packed[g]);
    SpreadGroups(scales, scale);
    int8_t codes[kBlock];
    for (int half = 0; half < 2; ++half) {
      const uint8_t* low = block + 64 * half;
      const uint8_t* high = block + 128 + 32 * half;
      int8_t* c = codes + 128 * half;
      for (int l = 0; l < 32; ++l) {
        const uint8_t low0 = low[l], low1 = low[l + 32], top = high[l];
        c[l] = static_cast<int8_t>(((low0 & 15) | (top & 3) << 4) - kLevels);
        c[l + 32] = static_cast<int8_t>(((low1 & 15) | (top >> 2 & 3) << 4) - kLevels);
        c[l + 64] = static_cast<int8_t>((low0 >> 4 | (top >> 4 & 3) << 4) - kLevels);
        c[l + 96] = static_cast<int8_t>((low1 >> 4 | (top >> 6) << 4) - kLevels);
      }
    }
    for (int e = 0; e < kBlock; ++e) weights[e] = scale[e] * static_cast<float>(codes[e]);
  }

  static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks) {
    for (int64_t at = 0; at < n; at += kBlock, blocks += kBytes) {
      const float* x = w + at;
      SearchGroups groups{x, kGroup, kGroups, ErrorWeight::kSquare};
      if (importance != nullptr) {
        groups.weight = ErrorWeight::kImportance;
        groups.importance = importance + at;
      }
      SymmetricFit fit;
      FitSymmetric(kLevels, groups, &fit);
      Pack(x, fit, blocks);
    }
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    for (int g = 0; g < kGroups; ++g) {
      block[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(parameters.scale[g]));
    }
    PackCodes(codes, block);
    StoreF16(block + 208, parameters.unit);
  }

 private:
  static void Pack(const float* x, const SymmetricFit& fit, uint8_t* block) {
    float largest = 0;
    for (float s : fit.scale) {
      if (std::fabs(s) > std::fabs(largest)) largest = s;
    }
    if (std::fabs(largest) < 1e-15f) {
      std::memset(block, 0, kBytes);
      return;
    }
    const float inverse = -128.0f / largest;
    const uint16_t d = FiniteF16(1 / inverse);
    float step[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      const auto scale = static_cast<int8_t>(std::min(127, NearestInt(inverse * fit.scale[g])));
      block[192 + g] = static_cast<uint8_t>(scale);
      step[g] = F16ToF32(d) * static_cast<float>(scale);
    }
    const auto own = [&](int g, int i) {
      return OwnCode(kLevels, fit.code_inverse[g], x[g * kGroup + i]);
    };
    uint8_t codes[kBlock];
    RoundSymmetric(kLevels, x, step, own, codes);
    PackCodes(codes, block);
    StoreLe(block + 208, d);
  }

  static void PackCodes(const uint8_t* c, uint8_t* block) {
    for (int half = 0; half < 2; ++half, c += 128) {
      uint8_t* low = block + 64 * half;
      uint8_t* high = block + 128 + 32 * half;
      for (int l = 0; l < 64; ++l) {
        low[l] = static_cast<uint8_t>((c[l] & 15) | (c[l + 64] & 15) << 4);
      }
      for (int l = 0; l < 32; ++l) {
        high[l] = static_cast<uint8_t>((c[l] >> 4 & 3) | (c[l + 32] >> 4 & 3) << 2 |
                                       (c[l + 64] >> 4 & 3) << 4 | (c[l + 96] >> 4 & 3) << 6);
      }
    }
  }
};

}  // namespace halftone
