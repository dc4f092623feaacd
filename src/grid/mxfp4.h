// MXFP4: 4-bit floats (E2M1) with one power of two for each 32 weights. 4.25 bits a weight.
//
//   byte 0     e      u8, the scale is 2^(e - 127)
//   byte 1-16  codes  4 bits each (nibbles.h)
//   weight e = E2M1[code[e]] * 2^(e - 127)
//
// Source: OCP Microscaling Formats v1.0; ggml, block_mxfp4. The standard's NaN (e = 255) is an
// ordinary exponent to ggml. The encoder is ggml's reference: e = floor(log2(max|w|)) - 2 + 127, so
// that the largest weight lies between 4 and 8 scales, and the nearest level.

#pragma once

#include <bit>
#include <cmath>

#include "grid/e2m1.h"
#include "grid/grid.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {

struct MXFP4 {
  static constexpr std::string_view kName = "mxfp4", kTitle = "MXFP4";
  static constexpr int kBlock = 32, kBytes = 17, kGgufType = 39;
  static constexpr std::array<float, 16> kCodebook = kE2m1;

  static void DecodeBlock(const uint8_t* block, float* weights) {
    const float half = HalfScale(block[0]);
    DecodeNibbles(block + 1, weights, [half](int code) { return kTwiceE2m1[code] * half; });
  }

  static void EncodeBlock(const float* weights, uint8_t* block) {
    const float largest = LargestMagnitude<32>(weights);
    // Magnitudes below 2^-125 would need a negative e. It stays 0 here; ggml's wraps around, which
    // may give 255, a byte that its own validation refuses.
    const float exponent = largest > 0 ? std::floor(std::log2(largest)) - 2 + 127 : 0.0f;
    block[0] = static_cast<uint8_t>(TruncateTo(exponent, 254));
    uint8_t codes[32];
    RoundToE2m1<32>(weights, HalfScale(block[0]), codes);
    PackNibbles(codes, block + 1);
  }

 private:
  // 2^(e - 128), below the smallest normal float for e < 2.
  static float HalfScale(uint8_t e) {
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
  }
};

}  // namespace halftone
