// MXFP4 in products with rounded activations: twice its levels are integers, looked up as bytes.

#pragma once

#include "grid/mxfp4.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<MXFP4> {
  static constexpr PanelForm kForm{.wide = true};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* blocks, Sink& sink) {
    constexpr int kBytes = MXFP4::kBytes;
    const __m128i levels = Levels256(MXFP4::kCodebook.data(), 2);
    // 2^(e - 128): a number's exponent, below the smallest normal one its highest bits.
    const auto e = [blocks](int j) { return static_cast<int>(blocks[kBytes * j]); };
    const __m256i exponents =
        _mm256_setr_epi32(e(0), e(1), e(2), e(3), e(4), e(5), e(6), e(7));
    const __m256i normal =
        _mm256_slli_epi32(_mm256_sub_epi32(exponents, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), exponents);
    const __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), exponents);
    sink.Steps(_mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, is_tiny)));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, LookUp256(levels, Nibbles256(blocks + kBytes * j + 1)));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
