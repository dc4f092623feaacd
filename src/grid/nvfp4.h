// NVFP4: 4-bit floats (E2M1), one unsigned 8-bit float as the scale of each 16 weights, in blocks
// of
// 64. 4.5 bits a weight.
//
//   byte 0-3   scale  4 x UE4M3: 4 exponent bits (bias 7), 3 fraction bits
//   byte 4-35  codes  4 x 8 bytes: code e of a group is in byte e % 8, the low 4 bits for e < 8
//   weight e = E2M1[code[e]] * scale[e / 16]
//
// Source: ggml, block_nvfp4. A scale has no sign, bit 7 is ignored except that 0xFF is no special
// value; 0x7F, the NaN of E4M3, means 0. The encoder is ggml's reference: scale = max|w| / 6 of the
// group, and the nearest level.

#pragma once

#include <bit>
#include <cmath>

#include "grid/e2m1.h"
#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct NVFP4 {
  static constexpr std::string_view kName = "nvfp4", kTitle = "NVFP4";
  static constexpr int kBlock = 64, kBytes = 36, kGgufType = 40;
  static constexpr std::array<float, 16> kCodebook = kE2m1;

  static void DecodeBlock(const uint8_t* __restrict block, float* __restrict weights) {
    for (int g = 0; g < 4; ++g, weights += 16) {
      const float half = HalfScale(block[g]);
      const uint8_t* q = block + 4 + 8 * g;
#pragma GCC unroll 1
      for (int e = 0; e < 8; ++e) weights[e] = kTwiceE2m1[q[e] & 15] * half;
#pragma GCC unroll 1
      for (int e = 0; e < 8; ++e) weights[8 + e] = kTwiceE2m1[q[e] >> 4] * half;
    }
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    for (int g = 0; g < 4; ++g, weights += 16) {
      block[g] = ToUe4m3(LargestMagnitude<16>(weights) / 6.0f);
      uint8_t codes[16];
      RoundToE2m1<16>(weights, HalfScale(block[g]), codes);
      uint8_t* q = block + 4 + 8 * g;
      for (int e = 0; e < 8; ++e) q[e] = static_cast<uint8_t>(codes[e] | codes[8 + e] << 4);
    }
  }

 private:
  // Half of what the byte says.
  static float HalfScale(uint8_t byte) {
    if (byte == 0 || byte == 0x7F) return 0;
    const unsigned exponent = byte >> 3 & 15, fraction = byte & 7;
    // Subnormal: fraction * 2^-9. Both halved.
    if (exponent == 0) return static_cast<float>(fraction) * 0x1p-10f;
    return std::bit_cast<float>((exponent - 8 + 127) << 23 | fraction << 20);
  }

  // The nearest UE4M3, halves upwards, decided by the first dropped bit alone; 256 and more become
  // 448, although 256 .. 416 are representable.
  static uint8_t ToUe4m3(float x) {
    if (!(x > 0)) return 0;
    if (x < 0x1p-6f) return static_cast<uint8_t>(TruncateTo(x * 512.0f + 0.5f, 7));
    if (x >= 256) return 0x7E;
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    // Exponent and fraction as one number: a carry out of the fraction raises the exponent.
    const uint32_t code = ((bits >> 20) + (bits >> 19 & 1)) - ((127 - 7) << 3);
    return static_cast<uint8_t>(code >= 15 << 3 ? 0x7E : code);
  }
};

}  // namespace halftone
