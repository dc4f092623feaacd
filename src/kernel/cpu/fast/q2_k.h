// Q2_K in products with rounded activations.

#pragma once

#include "grid/q2_k.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q2_K> {
  static constexpr PanelForm kForm{.group = 16, .minima = true, .largest = 3};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const float step = Half256(block + 80), least = Half256(block + 82);
    const __m128i both = Load128(block), four = _mm_set1_epi8(15);
    const __m128i scales = _mm_and_si128(both, four);
    const __m128i minima = _mm_and_si128(_mm_srli_epi16(both, 4), four);
#if defined(HT_VNNI_UNIT)
    sink.Steps(_mm512_mul_ps(_mm512_set1_ps(step), Unsigned512(scales)));
    sink.Minima(_mm512_mul_ps(_mm512_set1_ps(least), Unsigned512(minima)));
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      const int shift = 4 * (p % 2);
      sink.Pair(p, Fields512<2>(Twice512(block + 16 + 32 * (p / 2)), shift, shift + 2));
    }
#else
    const __m256 d = _mm256_set1_ps(step), dmin = _mm256_set1_ps(least);
    sink.Steps(_mm256_mul_ps(d, Unsigned256(scales)),
               _mm256_mul_ps(d, Unsigned256(_mm_srli_si128(scales, 8))));
    sink.Minima(_mm256_mul_ps(dmin, Unsigned256(minima)),
                _mm256_mul_ps(dmin, Unsigned256(_mm_srli_si128(minima, 8))));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const __m256i four_codes = Load256(block + 16 + 32 * (j / 4));
      sink(j, _mm256_and_si256(_mm256_srli_epi16(four_codes, 2 * (j % 4)), _mm256_set1_epi8(3)));
    }
#endif
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
