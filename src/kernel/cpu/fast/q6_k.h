// Fast decoding of Q6_K: bytes are assembled 64 codes at a time, then widened.

#pragma once

#include "grid/q6_k.h"
#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/avx512.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX512

template <>
struct Avx512Decoder<Q6_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192));
    alignas(16) float halves[4];  // d, after the last three pairs of scales
    FourHalves(block + 202, halves);
    alignas(64) float scales[16];
    _mm512_store_ps(scales, _mm512_mul_ps(_mm512_set1_ps(halves[3]),
                                          _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed))));
    KeepInMemory(scales);
    // High bits of the lower 32 codes are two places below those of the upper 32.
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    const __m512i four = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    const __m512i middle = _mm512_set1_epi8(32);
    alignas(64) int8_t codes[128];
    for (int half = 0; half < 2; ++half) {
      const __m512i low = _mm512_loadu_si512(block + 64 * half);
      const __m512i high = _mm512_srlv_epi16(
          _mm512_broadcast_i64x4(
              _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 128 + 32 * half))),
          shifts);
      const __m512i first = _mm512_or_si512(_mm512_and_si512(low, four),
                                            _mm512_and_si512(_mm512_slli_epi16(high, 4), top));
      const __m512i second = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), four),
                                             _mm512_and_si512(high, top));
      _mm512_store_si512(codes, _mm512_sub_epi8(first, middle));
      _mm512_store_si512(codes + 64, _mm512_sub_epi8(second, middle));
      for (int i = 0; i < 128; i += 16) {
        const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(codes + i));
        sink(128 * half + i, _mm512_mul_ps(_mm512_set1_ps(scales[8 * half + i / 16]),
                                           _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))));
      }
    }
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Avx2Decoder<Q6_K> {
  static constexpr int kStep = 256;

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const float d = Half256(block + 208);
    alignas(32) int8_t codes[128];
    for (int half = 0; half < 2; ++half) {
      const __m256i low0 = Load(block + 64 * half), low1 = Load(block + 64 * half + 32);
      const __m256i high = Load(block + 128 + 32 * half);
      Store(codes, low0, _mm256_slli_epi16(high, 4));
      Store(codes + 32, low1, _mm256_slli_epi16(high, 2));
      Store(codes + 64, _mm256_srli_epi16(low0, 4), high);
      Store(codes + 96, _mm256_srli_epi16(low1, 4), _mm256_srli_epi16(high, 2));
      for (int i = 0; i < 128; i += 8) {
        const auto scale = static_cast<int8_t>(block[192 + 8 * half + i / 16]);
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
        sink(128 * half + i, _mm256_mul_ps(_mm256_set1_ps(d * static_cast<float>(scale)),
                                           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))));
      }
    }
  }

 private:
  HT_INLINE static __m256i Load(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  // Bits 0-3 of `low` and 4-5 of `high`, less 32, byte by byte.
  HT_INLINE static void Store(int8_t* codes, __m256i low, __m256i high) {
    const __m256i six = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)),
                                        _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(codes),
                       _mm256_sub_epi8(six, _mm256_set1_epi8(32)));
  }
};

HT_END_TARGET

HT_BEGIN_AVX2

template <>
struct Codes<Q6_K> {
  static constexpr PanelForm kForm{.group = 16, .offset = 32, .largest = 63};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m128i scales = Load128(block + 192);
    const float step = Half256(block + 208);
#if defined(HT_VNNI_UNIT)
    sink.Steps(_mm512_mul_ps(_mm512_set1_ps(step), Signed512(scales)));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i low = _mm512_loadu_si512(block + 64 * half);
      const __m512i high = Twice512(block + 128 + 32 * half);
      sink.Pair(2 * half, Six(low, _mm512_sllv_epi16(high, Halves16(4, 2))));
      sink.Pair(2 * half + 1,
                Six(_mm512_srli_epi16(low, 4), _mm512_srlv_epi16(high, Halves16(0, 2))));
    }
#else
    const __m256 d = _mm256_set1_ps(step);
    sink.Steps(_mm256_mul_ps(d, Signed256(scales)),
               _mm256_mul_ps(d, Signed256(_mm_srli_si128(scales, 8))));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i low0 = Load256(block + 64 * half), low1 = Load256(block + 64 * half + 32);
      const __m256i high = Load256(block + 128 + 32 * half);
      sink(4 * half, Six(low0, _mm256_slli_epi16(high, 4)));
      sink(4 * half + 1, Six(low1, _mm256_slli_epi16(high, 2)));
      sink(4 * half + 2, Six(_mm256_srli_epi16(low0, 4), high));
      sink(4 * half + 3, Six(_mm256_srli_epi16(low1, 4), _mm256_srli_epi16(high, 2)));
    }
#endif
  }

 private:
  // Bits 0-3 of `low` and 4-5 of `high`, byte by byte.
#if defined(HT_VNNI_UNIT)
  HT_INLINE static __m512i Six(__m512i low, __m512i high) {
    return _mm512_and_si512(Select512(15, low, high), _mm512_set1_epi8(63));
  }
#endif
  HT_INLINE static __m256i Six(__m256i low, __m256i high) {
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)),
                           _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
