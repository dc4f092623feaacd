// TQ1_0: ternary weights, five in a byte, one f16 scale for each 256. 1.6875 bits a weight.
//
//   byte 0-31   trits  trit n of byte m is weight 32n + m
//   byte 32-47  trits  trit n of byte 32 + m is weight 160 + 16n + m
//   byte 48-51  trits  trit n of byte 48 + m is weight 240 + 4n + m, n < 4
//   byte 52-53  d      f16
//   weight e = (trit[e] - 1) * d
//
// Five trits, the first the most significant, make a number V < 243; the byte is V / 243 as a
// binary fraction, rounded up: ceil(256 * V / 243). Multiplying by 3^n modulo 256 moves trit n to
// the front, where the integer part of its product with 3 is the trit.
//
// Source: ggml, block_tq1_0, for BitNet b1.58. The encoder: d = max|w|, trit = 1 + round half away
// from zero of w * (1/d).

#pragma once

#include "grid/grid.h"
#include "grid/rounding.h"

namespace halftone {

struct TQ1_0 {
  static constexpr std::string_view kName = "tq1_0", kTitle = "TQ1_0";
  static constexpr int kBlock = 256, kBytes = 54, kGgufType = 34;
  static constexpr std::array<float, 3> kCodebook = {-1, 0, 1};

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float d = LoadF16(block + 52);
    DecodeTrits<32, 5>(block, d, weights);
    DecodeTrits<16, 5>(block + 32, d, weights + 160);
    DecodeTrits<4, 4>(block + 48, d, weights + 240);
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float d = LargestMagnitude<kBlock>(weights);
    const float inverse = InverseOrZero(d);
    EncodeTrits<32, 5>(weights, inverse, block);
    EncodeTrits<16, 5>(weights + 160, inverse, block + 32);
    EncodeTrits<4, 4>(weights + 240, inverse, block + 48);
    StoreLe(block + 52, FiniteF16(d));
  }

 private:
  static constexpr int kPower[5] = {1, 3, 9, 27, 81};

  template <int kWidth, int kTrits>
  static void DecodeTrits(const uint8_t* __restrict bytes, float d, float* __restrict weights) {
    for (int n = 0; n < kTrits; ++n, weights += kWidth) {
#pragma GCC unroll 1
      for (int m = 0; m < kWidth; ++m) {
        const int front = bytes[m] * kPower[n] & 255;
        weights[m] = static_cast<float>((front * 3 >> 8) - 1) * d;
      }
    }
  }

  template <int kWidth, int kTrits>
  static void EncodeTrits(const float* __restrict weights, float inverse,
                          uint8_t* __restrict bytes) {
    for (int m = 0; m < kWidth; ++m) {
      int v = 0;
      for (int n = 0; n < 5; ++n) {
        v *= 3;
        if (n < kTrits) v += RoundAway(weights[m + n * kWidth] * inverse, -1, 1) + 1;
      }
      bytes[m] = static_cast<uint8_t>((v * 256 + 242) / 243);
    }
  }
};

}  // namespace halftone
