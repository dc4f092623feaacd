// Fast decoding of Q4_K: each group's 16 levels are a register, a code is an index into it.

#pragma once

#include "grid/q4_k.h"
#include "kernel/cpu/fast/codes.h"
#include "kernel/cpu/fast/six_bit_pairs.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q4_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(64) float scales[16];
    ScalePairs512(block, block + 4, scales);
    for (int pair = 0; pair < 4; ++pair) {
      const __m512 low = Levels(scales + 4 * pair), high = Levels(scales + 4 * pair + 2);
      const __m512i first = Bytes512(block + 16 + 32 * pair);
      const __m512i second = Bytes512(block + 32 + 32 * pair);
      sink(64 * pair, LookUp512(low, first));
      sink(64 * pair + 16, LookUp512(low, second));
      sink(64 * pair + 32, LookUp512(high, _mm512_srli_epi32(first, 4)));
      sink(64 * pair + 48, LookUp512(high, _mm512_srli_epi32(second, 4)));
    }
  }

 private:
  HT_INLINE static __m512 Levels(const float* pair) {
    return _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(pair[0]), Iota512()),
                         _mm512_set1_ps(pair[1]));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q4_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(32) float scales[16];
    ScalePairs256(block, block + 4, scales);
    for (int pair = 0; pair < 4; ++pair) {
      const uint8_t* q = block + 16 + 32 * pair;
      const __m256 d0 = _mm256_set1_ps(scales[4 * pair]), m0 = _mm256_set1_ps(scales[4 * pair + 1]);
      for (int i = 0; i < 32; i += 8) {
        sink(64 * pair + i, _mm256_sub_ps(_mm256_mul_ps(d0, LowNibbles256(Bytes256(q + i))), m0));
      }
      const __m256 d1 = _mm256_set1_ps(scales[4 * pair + 2]);
      const __m256 m1 = _mm256_set1_ps(scales[4 * pair + 3]);
      for (int i = 0; i < 32; i += 8) {
        sink(64 * pair + 32 + i,
             _mm256_sub_ps(_mm256_mul_ps(d1, HighNibbles256(Bytes256(q + i))), m1));
      }
    }
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q4_K> {
  static constexpr PanelForm kForm{.minima = true};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    __m256 steps, minima;
    SixBitScales(block, block + 4, steps, minima);
    sink.Steps(steps);
    sink.Minima(minima);
#if defined(HT_VNNI_UNIT)
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) sink.Pair(p, Fields512<4>(Twice512(block + 16 + 32 * p), 0, 4));
#else
    const __m256i four = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
      const __m256i both = Load256(block + 16 + 16 * j);
      sink(j, _mm256_and_si256(both, four));
      sink(j + 1, _mm256_and_si256(_mm256_srli_epi16(both, 4), four));
    }
#endif
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
