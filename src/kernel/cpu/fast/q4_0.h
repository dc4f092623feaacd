// Fast decoding of Q4_0: its 16 levels are a register, a code is an index into it.

#pragma once

#include "grid/q4_0.h"
#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/avx512.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q4_0> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m512 centred = _mm512_sub_ps(Iota512(), _mm512_set1_ps(8));
    alignas(16) float halves[4];  // d and what follows
    FourHalves(block, halves);
    const __m512 levels = _mm512_mul_ps(centred, _mm512_set1_ps(halves[0]));
    const __m512i bytes = Bytes512(block + 2);
    sink(0, LookUp512(levels, bytes));
    sink(16, LookUp512(levels, _mm512_srli_epi32(bytes, 4)));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q4_0> {
  static constexpr int kStep = 32;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m256 d = _mm256_set1_ps(Half256(block)), eight = _mm256_set1_ps(8);
    const __m256i first = Bytes256(block + 2), second = Bytes256(block + 10);
    sink(0, _mm256_mul_ps(_mm256_sub_ps(LowNibbles256(first), eight), d));
    sink(8, _mm256_mul_ps(_mm256_sub_ps(LowNibbles256(second), eight), d));
    sink(16, _mm256_mul_ps(_mm256_sub_ps(HighNibbles256(first), eight), d));
    sink(24, _mm256_mul_ps(_mm256_sub_ps(HighNibbles256(second), eight), d));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q4_0> : CodesOfGroups<Q4_0> {
  static constexpr PanelForm kForm{.offset = 8};

  HT_INLINE static __m256i Of(const uint8_t* block) { return Nibbles256(block + 2); }
#if defined(HT_VNNI_UNIT)
  HT_INLINE static __m512i PairOf(const uint8_t* blocks, int p) {
    return NibblePairs512<Q4_0::kBytes, 2>(blocks, p);
  }
#endif
};

HT_END_TARGET

}  // namespace halftone

#endif
