// Q3_K: super-blocks of 256 in 16 groups of 16, symmetric 3-bit codes -4..3, 6-bit signed scales.
// 3.4375 bits a weight.
//
//   byte 0-31    bit 2 of the codes: code e's is bit e / 32 of byte e % 32
//   byte 32-95   bits 0-1 (super_block.h, PackTwoBits)
//   byte 96-107  scales + 32 of 6 bits: the low 4 of group g in byte g % 8 (its high half where
//                g >= 8), the high 2 in bits 2 * (g / 4) of byte 8 + g % 4
//   byte 108-109 d   f16
//   weight e of group g = e / 16:  (d * (scale[g] - 32)) * (code[e] - 4)
//
// Source: ggml, block_q3_K. The encoder gives ggml's bytes, with importances and without.

#pragma once

#include <algorithm>

#include "base/half.h"
#include "grid/grid.h"
#include "grid/super_block.h"

namespace halftone {

struct Q3_K {
  static constexpr std::string_view kName = "q3_k", kTitle = "Q3_K";
  static constexpr int kBlock = kSuperBlock, kBytes = 110, kGgufType = 11;
  static constexpr Importance kImportance = Importance::kOptional;
  static constexpr int kGroup = 16, kGroups = 16, kLevels = 4, kScaleLevels = 32;

  static constexpr ScalarGrid kScalar{.group = 16,
                                      .first = -4,
                                      .count = 8,
                                      .step = StepKind::kMultiple,
                                      .scale_low = -32,
                                      .scale_high = 31};

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    const float d = LoadF16(block + 108);
    const uint8_t* packed = block + 96;
    float scales[kGroups], scale[kBlock];
    for (int g = 0; g < kGroups; ++g) {
      const int low = packed[g % 8] >> 4 * (g / 8) & 15;
      const int top = packed[8 + g % 4] >> 2 * (g / 4) & 3;
      scales[g] = d * static_cast<float>((low | top << 4) - kScaleLevels);
    }
    SpreadGroups(scales, scale);
    int8_t codes[kBlock];
    for (int half = 0; half < 2; ++half) {
      const uint8_t* q = block + 32 + 32 * half;
      int8_t* c = codes + 128 * half;
      for (int l = 0; l < 32; ++l) {
        const uint8_t low = q[l], high = block[l] >> 4 * half;
        c[l] = static_cast<int8_t>(((low & 3) | (high & 1) << 2) - kLevels);
        c[l + 32] = static_cast<int8_t>(((low >> 2 & 3) | (high >> 1 & 1) << 2) - kLevels);
        c[l + 64] = static_cast<int8_t>(((low >> 4 & 3) | (high >> 2 & 1) << 2) - kLevels);
        c[l + 96] = static_cast<int8_t>((low >> 6 | (high >> 3 & 1) << 2) - kLevels);
      }
    }
    for (int e = 0; e < kBlock; ++e) weights[e] = scale[e] * static_cast<float>(codes[e]);
  }

  static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks) {
    for (int64_t at = 0; at < n; at += kSuperBatch * kBlock, blocks += kSuperBatch * kBytes) {
      const int count = static_cast<int>(std::min<int64_t>(kSuperBatch, (n - at) / kBlock));
      if (importance != nullptr) {
        EncodeWeighted(w + at, importance + at, count, blocks);
      } else {
        EncodePlain(w + at, count, blocks);
      }
    }
  }

  static void PackScalar(const Grid& /*grid*/, const BlockParameters& parameters,
                         const uint8_t* codes, uint8_t* block) {
    uint8_t scale[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      scale[g] = static_cast<uint8_t>(parameters.scale[g] + kScaleLevels);
    }
    PackBytes(codes, scale, F32ToF16(parameters.unit), block);
  }

 private:
  static void EncodePlain(const float* x, int count, uint8_t* blocks) {
    constexpr int kTogether = kGreedyLanes / kGroups;
    for (int b = 0; b < count; b += kTogether) {
      const int here = std::min(kTogether, count - b);
      GreedyFit fit;
      FitSymmetricGreedy(kLevels, x + b * kBlock, kGroup, here * kGroups, &fit);
      for (int k = 0; k < here; ++k) {
        PackPlain(x + (b + k) * kBlock, fit, k * kGroups, blocks + (b + k) * kBytes);
      }
    }
  }

  // The groups from `first` on of the fit.
  static void PackPlain(const float* x, const GreedyFit& fit, int first, uint8_t* block) {
    const float* scales = fit.scale + first;
    float largest = 0;
    for (int g = 0; g < kGroups; ++g) {
      if (std::fabs(scales[g]) > std::fabs(largest)) largest = scales[g];
    }
    uint8_t scale[kGroups] = {};
    uint16_t d = 0;
    if (largest != 0) {
      const float inverse = -32.0f / largest;
      for (int g = 0; g < kGroups; ++g) {
        const int code =
            std::clamp(NearestInt(inverse * scales[g]), -kScaleLevels, kScaleLevels - 1);
        scale[g] = static_cast<uint8_t>(code + kScaleLevels);
      }
      d = FiniteF16(1 / inverse);
    }
    const auto own = [&](int g, int i) {
      return static_cast<uint8_t>(fit.codes[i * kGreedyLanes + first + g]);
    };
    Pack(x, d, scale, own, block);
  }

  static void EncodeWeighted(const float* x, const float* importance, int count, uint8_t* blocks) {
    float squares[kSuperBatch];
    SumSquares(x, kBlock, count, squares);
    for (int b = 0; b < count; ++b, x += kBlock, importance += kBlock, blocks += kBytes) {
      float variances[kGroups];
      std::fill_n(variances, kGroups, 2 * squares[b] / kBlock);
      SymmetricFit fit;
      FitSymmetric(kLevels,
                   {x, kGroup, kGroups, ErrorWeight::kImportanceMagnitude, importance, variances},
                   &fit);
      uint8_t scale[kGroups];
      const float d = FitSymmetricOne(kScaleLevels, kGroups, fit.scale, fit.weight, scale);
      const auto own = [&](int g, int i) {
        return OwnCode(kLevels, fit.code_inverse[g], x[g * kGroup + i]);
      };
      Pack(x, FiniteF16(d), scale, own, blocks);
    }
  }

  template <class Own>
  static void Pack(const float* x, uint16_t d, const uint8_t* scale, Own own, uint8_t* block) {
    float step[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      step[g] = F16ToF32(d) * static_cast<float>(scale[g] - kScaleLevels);
    }
    uint8_t codes[kBlock];
    RoundSymmetric(kLevels, x, step, own, codes);
    PackBytes(codes, scale, d, block);
  }

  static void PackBytes(const uint8_t* codes, const uint8_t* scale, uint16_t d, uint8_t* block) {
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int k = 0; k < 8; ++k) high |= (codes[32 * k + l] >> 2 & 1) << k;
      block[l] = static_cast<uint8_t>(high);
    }
    PackTwoBits(codes, block + 32);
    uint8_t* packed = block + 96;
    for (int j = 0; j < 8; ++j) {
      packed[j] = static_cast<uint8_t>((scale[j] & 15) | (scale[j + 8] & 15) << 4);
    }
    for (int j = 0; j < 4; ++j) {
      packed[8 + j] = static_cast<uint8_t>(scale[j] >> 4 | (scale[j + 4] >> 4) << 2 |
                                           (scale[j + 8] >> 4) << 4 | (scale[j + 12] >> 4) << 6);
    }
    StoreLe(block + 108, d);
  }
};

}  // namespace halftone
