// Codes of blocks of 32 weights as ggml packs them: not side by side but in two halves, so that one
// vector of bytes holds the low halves of the first 16 weights and the high halves of the others.
//
//   16 bytes   code e is in byte e % 16: the low 4 bits for e < 16, the high 4 bits for the others
//   u32        where codes have a fifth bit, it is bit e
//
// The loops here (and in the grids' decoders) ask not to be unrolled: GCC would unroll loops of 16
// completely before it vectorizes and then emit them as scalars.

#pragma once

#include <cstdint>

#include "base/half.h"

namespace halftone {

// weights[e] = value(code e), e = 0..31.
template <class Value>
inline void DecodeNibbles(const uint8_t* __restrict packed, float* __restrict weights,
                          Value value) {
#pragma GCC unroll 1
  for (int e = 0; e < 16; ++e) weights[e] = value(packed[e] & 15);
#pragma GCC unroll 1
  for (int e = 0; e < 16; ++e) weights[16 + e] = value(packed[e] >> 4);
}

// The same for codes of 5 bits.
template <class Value>
inline void DecodeFiveBits(const uint8_t* __restrict fifth, const uint8_t* __restrict packed,
                           float* __restrict weights, Value value) {
  const auto high = LoadLe<uint32_t>(fifth);
#pragma GCC unroll 1
  for (uint32_t e = 0; e < 16; ++e) {
    weights[e] = value(static_cast<int>((packed[e] & 15u) | ((high >> e) & 1) << 4));
  }
#pragma GCC unroll 1
  for (uint32_t e = 0; e < 16; ++e) {
    weights[16 + e] = value(static_cast<int>((packed[e] >> 4) | ((high >> (16 + e)) & 1) << 4));
  }
}

inline void UnpackNibbles(const uint8_t* __restrict packed, uint8_t* __restrict codes) {
#pragma GCC unroll 1
  for (int e = 0; e < 16; ++e) {
    codes[e] = packed[e] & 15;
    codes[16 + e] = packed[e] >> 4;
  }
}

inline void PackNibbles(const uint8_t* __restrict codes, uint8_t* __restrict packed) {
#pragma GCC unroll 1
  for (int e = 0; e < 16; ++e) {
    packed[e] = static_cast<uint8_t>((codes[e] & 15) | codes[16 + e] << 4);
  }
}

inline void UnpackFiveBits(const uint8_t* fifth, const uint8_t* packed, uint8_t* codes) {
  UnpackNibbles(packed, codes);
  const auto high = LoadLe<uint32_t>(fifth);
  for (uint32_t e = 0; e < 32; ++e) codes[e] |= static_cast<uint8_t>((high >> e & 1) << 4);
}

inline void PackFiveBits(const uint8_t* codes, uint8_t* fifth, uint8_t* packed) {
  uint32_t high = 0;
  for (int e = 0; e < 32; ++e) high |= static_cast<uint32_t>(codes[e] >> 4) << e;
  StoreLe(fifth, high);
  PackNibbles(codes, packed);
}

}  // namespace halftone
