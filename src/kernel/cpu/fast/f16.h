// Fast widening of F16.

#pragma once

#include "grid/f16.h"
#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/avx512.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<F16> {
  static constexpr int kStep = 16;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* p, Sink& sink) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    sink(0, _mm512_cvtph_ps(halves));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<F16> {
  static constexpr int kStep = 8;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* p, Sink& sink) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    sink(0, _mm256_cvtph_ps(halves));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
