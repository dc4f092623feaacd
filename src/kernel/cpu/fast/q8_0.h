// Fast decoding of Q8_0.

#pragma once

#include "grid/q8_0.h"
#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/avx512.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q8_0> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(16) float halves[4];  // d and what follows
    FourHalves(block, halves);
    const __m512 d = _mm512_set1_ps(halves[0]);
    sink(0, _mm512_mul_ps(Codes(block + 2), d));
    sink(16, _mm512_mul_ps(Codes(block + 18), d));
  }

 private:
  HT_INLINE static __m512 Codes(const uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q8_0> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m256 d = _mm256_set1_ps(Half256(block));
    sink(0, _mm256_mul_ps(Codes(block + 2), d));
    sink(8, _mm256_mul_ps(Codes(block + 10), d));
    sink(16, _mm256_mul_ps(Codes(block + 18), d));
    sink(24, _mm256_mul_ps(Codes(block + 26), d));
  }

 private:
  HT_INLINE static __m256 Codes(const uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q8_0> : CodesOfGroups<Q8_0> {
  static constexpr PanelForm kForm{.wide = true};

  HT_INLINE static __m256i Of(const uint8_t* block) { return Load256(block + 2); }
#if defined(HT_VNNI_UNIT)
  HT_INLINE static __m512i PairOf(const uint8_t* blocks, int p) {
    const uint8_t* first = blocks + 2 * Q8_0::kBytes * p + 2;
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(Load256(first)),
                                            Load256(first + Q8_0::kBytes), 1);
    return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
  }
#endif
};

HT_END_TARGET

}  // namespace halftone

#endif
