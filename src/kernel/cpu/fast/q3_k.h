// Q3_K in products with rounded activations.

#pragma once

#include "grid/q3_k.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q3_K> {
  static constexpr PanelForm kForm{.group = 16, .offset = 4, .largest = 7};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const float step = Half256(block + 108);
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 96));
    const __m128i low =
        _mm_and_si128(_mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4)), _mm_set1_epi8(15));
    int32_t tops;
    std::memcpy(&tops, block + 104, sizeof tops);
    const __m128i high = _mm_slli_epi16(
        _mm_and_si128(_mm_srlv_epi32(_mm_set1_epi32(tops), _mm_setr_epi32(0, 2, 4, 6)),
                      _mm_set1_epi8(3)),
        4);
    const __m128i scales = _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
#if defined(HT_VNNI_UNIT)
    sink.Steps(_mm512_mul_ps(_mm512_set1_ps(step), Signed512(scales)));
    const __m512i top = Twice512(block);
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      const int shift = 4 * (p % 2);
      sink.Pair(p, Fields512<2>(Twice512(block + 32 + 32 * (p / 2)), shift, shift + 2, top, 2 * p,
                                2 * p + 1));
    }
#else
    const __m256 d = _mm256_set1_ps(step);
    sink.Steps(_mm256_mul_ps(d, Signed256(scales)),
               _mm256_mul_ps(d, Signed256(_mm_srli_si128(scales, 8))));
    const __m256i third = Load256(block), two = _mm256_set1_epi8(3), four = _mm256_set1_epi8(4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const __m256i both = Load256(block + 32 + 32 * (j / 4));
      const __m256i bit = j < 2 ? _mm256_slli_epi16(third, 2 - j) : _mm256_srli_epi16(third, j - 2);
      sink(j, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(both, 2 * (j % 4)), two),
                              _mm256_and_si256(bit, four)));
    }
#endif
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
