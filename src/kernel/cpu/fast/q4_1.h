// Fast decoding of Q4_1: its 16 levels are a register, a code is an index into it.

#pragma once

#include "grid/q4_1.h"
#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/avx512.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q4_1> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(16) float halves[4];  // d, m and what follows
    FourHalves(block, halves);
    const __m512 levels = _mm512_add_ps(_mm512_mul_ps(Iota512(), _mm512_set1_ps(halves[0])),
                                        _mm512_set1_ps(halves[1]));
    const __m512i bytes = Bytes512(block + 4);
    sink(0, LookUp512(levels, bytes));
    sink(16, LookUp512(levels, _mm512_srli_epi32(bytes, 4)));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q4_1> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m256 d = _mm256_set1_ps(Half256(block)), m = _mm256_set1_ps(Half256(block + 2));
    const __m256i first = Bytes256(block + 4), second = Bytes256(block + 12);
    sink(0, _mm256_add_ps(_mm256_mul_ps(LowNibbles256(first), d), m));
    sink(8, _mm256_add_ps(_mm256_mul_ps(LowNibbles256(second), d), m));
    sink(16, _mm256_add_ps(_mm256_mul_ps(HighNibbles256(first), d), m));
    sink(24, _mm256_add_ps(_mm256_mul_ps(HighNibbles256(second), d), m));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q4_1> : CodesOfGroups<Q4_1> {
  static constexpr PanelForm kForm{.minima = true};

  HT_INLINE static __m256i Of(const uint8_t* block) { return Nibbles256(block + 4); }
#if defined(HT_VNNI_UNIT)
  HT_INLINE static __m512i PairOf(const uint8_t* blocks, int p) {
    return NibblePairs512<Q4_1::kBytes, 4>(blocks, p);
  }
#endif
  HT_INLINE static float Minimum(const uint8_t* block) { return -Half256(block + 2); }
  HT_INLINE static __m256 Minima(const uint8_t* blocks) {
    return _mm256_xor_ps(Halves256<Q4_1::kBytes>(blocks + 2), _mm256_set1_ps(-0.0f));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
