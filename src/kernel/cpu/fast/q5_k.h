// Fast decoding of Q5_K: bytes are assembled 64 codes at a time, then widened.

#pragma once

#include "grid/q5_k.h"
#include "kernel/cpu/fast/codes.h"
#include "kernel/cpu/fast/six_bit_pairs.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q5_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(64) float scales[16];
    ScalePairs512(block, block + 4, scales);
    // The lower half of a vector holds a pair's first group, the upper half its second.
    const __m512i low_shifts = Halves(0, 4);
    __m512i fifth = _mm512_srlv_epi16(Twice(block + 16), Halves(0, 1));
    alignas(64) uint8_t codes[64];
    for (int pair = 0; pair < 4; ++pair) {
      const __m512i low = _mm512_and_si512(
          _mm512_srlv_epi16(Twice(block + 48 + 32 * pair), low_shifts), _mm512_set1_epi8(15));
      const __m512i high = _mm512_slli_epi16(_mm512_and_si512(fifth, _mm512_set1_epi8(1)), 4);
      _mm512_store_si512(codes, _mm512_or_si512(low, high));
      fifth = _mm512_srli_epi16(fifth, 2);
      for (int i = 0; i < 64; i += 16) {
        const float* scale = scales + 4 * pair + i / 32 * 2;
        const __m512 q = _mm512_cvtepi32_ps(Bytes512(codes + i));
        sink(64 * pair + i,
             _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(scale[0]), q), _mm512_set1_ps(scale[1])));
      }
    }
  }

 private:
  HT_INLINE static __m512i Twice(const uint8_t* p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  HT_INLINE static __m512i Halves(short lower, short upper) {
    return _mm512_inserti64x4(_mm512_set1_epi16(lower), _mm256_set1_epi16(upper), 1);
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q5_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    alignas(32) float scales[16];
    ScalePairs256(block, block + 4, scales);
    __m256i fifth = Load(block + 16);
    alignas(32) uint8_t codes[64];
    for (int pair = 0; pair < 4; ++pair) {
      const __m256i q = Load(block + 48 + 32 * pair);
      Store(codes, q, fifth);
      Store(codes + 32, _mm256_srli_epi16(q, 4), _mm256_srli_epi16(fifth, 1));
      fifth = _mm256_srli_epi16(fifth, 2);
      for (int i = 0; i < 64; i += 8) {
        const float* scale = scales + 4 * pair + i / 32 * 2;
        const __m256 code = _mm256_cvtepi32_ps(Bytes256(codes + i));
        sink(64 * pair + i, _mm256_sub_ps(_mm256_mul_ps(_mm256_set1_ps(scale[0]), code),
                                          _mm256_set1_ps(scale[1])));
      }
    }
  }

 private:
  HT_INLINE static __m256i Load(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  // The low 4 bits of `low` with the lowest of `fifth` above them, byte by byte.
  HT_INLINE static void Store(uint8_t* codes, __m256i low, __m256i fifth) {
    const __m256i high = _mm256_slli_epi16(_mm256_and_si256(fifth, _mm256_set1_epi8(1)), 4);
    _mm256_store_si256(reinterpret_cast<__m256i*>(codes),
                       _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), high));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q5_K> {
  static constexpr PanelForm kForm{.minima = true, .largest = 31};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    __m256 steps, minima;
    SixBitScales(block, block + 4, steps, minima);
    sink.Steps(steps);
    sink.Minima(minima);
#if defined(HT_VNNI_UNIT)
    const __m512i top = Twice512(block + 16);
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      sink.Pair(p, Fields512<4>(Twice512(block + 48 + 32 * p), 0, 4, top, 2 * p, 2 * p + 1));
    }
#else
    const __m256i four = _mm256_set1_epi8(15), fifth = _mm256_set1_epi8(16);
    const __m256i high = Load256(block + 16);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
      const __m256i both = Load256(block + 48 + 16 * j);
      // Bits j and j + 1 of the high ones belong at bit 4.
      const __m256i even = j < 4 ? _mm256_slli_epi16(high, 4 - j) : _mm256_srli_epi16(high, j - 4);
      const __m256i odd = j < 3 ? _mm256_slli_epi16(high, 3 - j) : _mm256_srli_epi16(high, j - 3);
      sink(j, _mm256_or_si256(_mm256_and_si256(both, four), _mm256_and_si256(even, fifth)));
      sink(j + 1, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(both, 4), four),
                                  _mm256_and_si256(odd, fifth)));
    }
#endif
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
