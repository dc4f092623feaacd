// The codebooks of the lattice grids: points of 8 (or 4) small integers, chosen by their makers for
// how often trained weights come near them. A code is the rank of a point in its book.
//
// Each book is a subset of all points with digits 0..2 (8 digits) or 0..7 (4 digits), in ascending
// order of the number with these digits, the first digit the least significant. Which points belong
// to it is a fact of the format, kept in iq_codebooks.cc as one bit for every candidate; a grid's
// value for each digit is an affine function of it:
//
//   kTwoBit*    8 digits   {8, 25, 43}[digit]
//   kTernary*   8 digits   digit - 1
//   kThreeBit256, 4 digits  {4, 12, 20, 28, 36, 44, 52, 62}[digit]
//   kThreeBit512, 4 digits  2 * digit + 1
//
// Source: llama.cpp, ggml/src/ggml-common.h and ggml-quants.c (MIT licence, copyright 2023-2026 The
// ggml authors).

#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/half.h"

namespace halftone {

// Byte i of an entry is the value of digit i, as u8 or (kTernary) i8.
extern const std::array<uint64_t, 256> kTwoBit256;
extern const std::array<uint64_t, 512> kTwoBit512;
extern const std::array<uint64_t, 1024> kTwoBit1024;
extern const std::array<uint64_t, 2048> kTernary2048;
extern const std::array<uint32_t, 256> kThreeBit256;
extern const std::array<uint32_t, 512> kThreeBit512;

// Eight magnitudes (bytes 1..127) with the sign of byte j negative where bit j of `signs` is set.
inline uint64_t WithSigns(uint64_t magnitudes, uint8_t signs) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  // Byte j keeps bit j of signs, then becomes 1 where that is set; no byte carries into the next.
  const uint64_t bits = (signs * kOnes) & 0x8040201008040201u;
  const uint64_t negative = (bits + 0x7F7F7F7F7F7F7F7Fu) >> 7 & kOnes;
  return (magnitudes ^ negative * 255) + negative;
}

// Seven signs, and an eighth that makes the number of minus signs even.
inline uint8_t EvenSigns(uint32_t code) {
  code &= 127;
  return static_cast<uint8_t>(code | (std::popcount(code) & 1u) << 7);
}

// weights[j] = scale * byte j of `values`, as i8; j = 0..7.
inline void DecodeOctet(uint64_t values, float scale, float* __restrict weights) {
  int8_t bytes[8];
  StoreLe(bytes, values);
#pragma GCC unroll 1
  for (int j = 0; j < 8; ++j) weights[j] = scale * static_cast<float>(bytes[j]);
}

// weights[j] = scale * (byte j of `values`, as i8, + shift).
inline void DecodeShiftedOctet(uint64_t values, float scale, float shift,
                               float* __restrict weights) {
  int8_t bytes[8];
  StoreLe(bytes, values);
#pragma GCC unroll 1
  for (int j = 0; j < 8; ++j) weights[j] = scale * (static_cast<float>(bytes[j]) + shift);
}

}  // namespace halftone
