// Q5_1 in products with rounded activations, as Q5_0 but for the minimum.

#pragma once

#include "grid/q5_1.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q5_1> : CodesOfGroups<Q5_1> {
  static constexpr PanelForm kForm{.minima = true, .largest = 31};

  HT_INLINE static __m256i Of(const uint8_t* block) { return FiveBits256(block + 4, block + 8); }
  HT_INLINE static float Minimum(const uint8_t* block) { return -Half256(block + 2); }
  HT_INLINE static __m256 Minima(const uint8_t* blocks) {
    return _mm256_xor_ps(Halves256<Q5_1::kBytes>(blocks + 2), _mm256_set1_ps(-0.0f));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
