// Super-blocks: 256 weights in groups of 16 or 32, where the groups' scales (and minima) are small
// integers themselves and one f16 for the whole super-block says what they are worth.
//
//   with minima:  weight = (d * scale[g]) * code - (dmin * minimum[g])
//   symmetric:    weight = (d * scale[g]) * code
//
// Rounding such a block: fit each group alone, round the fitted scales (and minima) to integers,
// store d (and dmin) as f16, and last choose every code anew for the scale that was really stored.
// Where a group's stored scale is zero the codes of its own fit stay; they decode to zero, but are
// part of the bytes.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/half.h"
#include "grid/rounding.h"
#include "grid/scalar.h"
#include "grid/scale_search.h"

namespace halftone {

inline constexpr int kSuperBlock = 256;
// Super-blocks whose sums are taken together.
inline constexpr int kSuperBatch = 8;

// How a grid with minima is searched and how it stores the groups' integers.
struct AffineSuperSpec {
  int group;             // 16 or 32
  int levels;            // the largest code
  int parameter_levels;  // the largest scale[g] and minimum[g]
  ErrorWeight weight;    // without importances
  float variance;        // with them: this times the mean square of the super-block
  AffineSearch plain, weighted;
  // ggml lets a code that FitPositive moved below zero wrap, unclamped, into the packed bytes,
  // where its high bits smear over the neighbour. Equal bytes need the same.
  bool wraps;
  void (*pack)(const uint8_t* scale, const uint8_t* minimum, uint8_t* packed);
  void (*unpack)(const uint8_t* packed, uint8_t* scale, uint8_t* minimum);
};

struct AffineSuperBlock {
  uint16_t d, dmin;    // f16
  uint8_t packed[16];  // scales and minima, by spec.pack
  uint8_t codes[kSuperBlock];
};

inline AffineSuperBlock ToAffineSuperBlock(const AffineSuperSpec& spec,
                                           const BlockParameters& parameters,
                                           const uint8_t* codes) {
  AffineSuperBlock block;
  block.d = F32ToF16(parameters.unit);
  block.dmin = F32ToF16(parameters.shift_unit);
  uint8_t scale[kMaxGroups], minimum[kMaxGroups];
  for (int g = 0; g < kSuperBlock / spec.group; ++g) {
    scale[g] = static_cast<uint8_t>(parameters.scale[g]);
    minimum[g] = static_cast<uint8_t>(parameters.shift[g]);
  }
  spec.pack(scale, minimum, block.packed);
  std::copy(codes, codes + kSuperBlock, block.codes);
  return block;
}

// The reverse.
inline void FromAffineSuperBlock(const AffineSuperSpec& spec, const AffineSuperBlock& block,
                                 BlockParameters& parameters, uint8_t* codes) {
  parameters.unit = F16ToF32(block.d);
  parameters.shift_unit = F16ToF32(block.dmin);
  uint8_t scale[kMaxGroups], minimum[kMaxGroups];
  spec.unpack(block.packed, scale, minimum);
  for (int g = 0; g < kSuperBlock / spec.group; ++g) {
    parameters.scale[g] = scale[g];
    parameters.shift[g] = minimum[g];
  }
  std::copy(block.codes, block.codes + kSuperBlock, codes);
}

// Rounds `count` <= kSuperBatch super-blocks. importance may be null.
void FitAffineSuperBlocks(const AffineSuperSpec& spec, const float* x, const float* importance,
                          int count, AffineSuperBlock* blocks);

// The codes of a symmetric super-block of 16 groups of 16, shifted by levels: nearest(x / step[g])
// where step[g], the group's stored scale, is not 0; own(g, i), the code of weight i in the group's
// own fit, where it is.
template <class Own>
void RoundSymmetric(int levels, const float* x, const float* step, Own own, uint8_t* codes) {
  constexpr int kGroup = 16, kGroups = 16;
  constexpr float kNoOffset[kGroups] = {};
  RoundGroups(x, kGroup, kGroups, step, kNoOffset, -levels, levels - 1, codes);
  for (int g = 0; g < kGroups; ++g) {
    if (step[g] != 0) continue;
    for (int i = 0; i < kGroup; ++i) codes[g * kGroup + i] = own(g, i);
  }
}

// own() for FitSymmetric.
inline uint8_t OwnCode(int levels, float code_inverse, float x) {
  if (code_inverse == 0) return 0;
  return static_cast<uint8_t>(levels +
                              std::clamp(NearestInt(code_inverse * x), -levels, levels - 1));
}

// Eight pairs of a 6-bit scale s and a 6-bit minimum m in 12 bytes, j = 0..7:
//   byte j, j < 4      s[j] | high 2 bits of s[j + 4] << 6
//   byte j, 4 <= j < 8 m[j - 4] | high 2 bits of m[j] << 6
//   byte j, j >= 8     low 4 bits of s[j - 4] | low 4 bits of m[j - 4] << 4
inline void PackSixBitPairs(const uint8_t* scale, const uint8_t* minimum, uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>(scale[j] | (scale[j + 4] >> 4) << 6);
    packed[j + 4] = static_cast<uint8_t>(minimum[j] | (minimum[j + 4] >> 4) << 6);
    packed[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
  }
}

inline void UnpackSixBitPairs(const uint8_t* packed, uint8_t* scale, uint8_t* minimum) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = packed[j] & 63;
    minimum[j] = packed[j + 4] & 63;
    scale[j + 4] = static_cast<uint8_t>((packed[j + 8] & 15) | (packed[j] >> 6) << 4);
    minimum[j + 4] = static_cast<uint8_t>(packed[j + 8] >> 4 | (packed[j + 4] >> 6) << 4);
  }
}

// Gives every weight the value of its group of 16: the decoders' loops then run over 32 and more
// weights, which compilers vectorize far better than loops over 16.
inline void SpreadGroups(const float* __restrict of_group, float* __restrict of_weight) {
  for (int g = 0; g < 16; ++g) {
    for (int l = 0; l < 16; ++l) of_weight[16 * g + l] = of_group[g];
  }
}

// 256 codes of 2 bits in 64 bytes: code e is bits 2 * (e % 128 / 32) of byte 32 * (e / 128) + e
// % 32.
inline void PackTwoBits(const uint8_t* codes, uint8_t* packed) {
  for (int half = 0; half < 2; ++half, codes += 128, packed += 32) {
    for (int l = 0; l < 32; ++l) {
      packed[l] = static_cast<uint8_t>((codes[l] & 3) | (codes[l + 32] & 3) << 2 |
                                       (codes[l + 64] & 3) << 4 | (codes[l + 96] & 3) << 6);
    }
  }
}

}  // namespace halftone
