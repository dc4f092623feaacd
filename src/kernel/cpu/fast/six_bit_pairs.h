// The eight 6-bit scales and minima of a super-block (grid/super_block.h) in a register.

#pragma once

#include "kernel/cpu/fast/avx2.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

// The scales, one a byte, and the minima.
HT_INLINE void SixBitFields(const uint8_t* packed, __m128i& scales, __m128i& minima) {
  uint32_t a, b, c;
  std::memcpy(&a, packed, 4);
  std::memcpy(&b, packed + 4, 4);
  std::memcpy(&c, packed + 8, 4);
  // Four fields to a word: the first four pairs lie whole in a and b, the others have their low
  // bits in c and their high bits atop a and b.
  constexpr uint32_t kSix = 0x3F3F3F3F, kFour = 0x0F0F0F0F, kTop = 0x30303030;
  const uint64_t low = (a & kSix) | uint64_t{(c & kFour) | (a >> 2 & kTop)} << 32;
  const uint64_t high = (b & kSix) | uint64_t{(c >> 4 & kFour) | (b >> 2 & kTop)} << 32;
  scales = _mm_cvtsi64_si128(static_cast<int64_t>(low));
  minima = _mm_cvtsi64_si128(static_cast<int64_t>(high));
}

// 16 bytes: scale 0, minimum 0, scale 1, minimum 1, ...
HT_INLINE __m128i SixBitPairs(const uint8_t* packed) {
  __m128i scales, minima;
  SixBitFields(packed, scales, minima);
  return _mm_unpacklo_epi8(scales, minima);
}

// d times the eight scales and dmin times the minima, the f16 d and dmin at `halves`.
HT_INLINE void SixBitScales(const uint8_t* halves, const uint8_t* packed, __m256& steps,
                            __m256& minima) {
  __m128i low, high;
  SixBitFields(packed, low, high);
  steps =
      _mm256_mul_ps(_mm256_set1_ps(Half256(halves)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)));
  minima = _mm256_mul_ps(_mm256_set1_ps(Half256(halves + 2)),
                         _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high)));
}

// pairs[2 * g] = d * scale g, pairs[2 * g + 1] = dmin * minimum g, the f16 d and dmin at `halves`.
HT_INLINE void ScalePairs256(const uint8_t* halves, const uint8_t* packed, float (&pairs)[16]) {
  int32_t both;
  std::memcpy(&both, halves, sizeof both);
  const __m256 d = _mm256_cvtph_ps(_mm_set1_epi32(both));
  const __m128i bytes = SixBitPairs(packed);
  _mm256_store_ps(pairs, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))));
  _mm256_store_ps(
      pairs + 8,
      _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))));
}

HT_END_TARGET

HT_BEGIN_AVX512

HT_INLINE void ScalePairs512(const uint8_t* halves, const uint8_t* packed, float (&pairs)[16]) {
  const __m512i bytes = _mm512_cvtepu8_epi32(SixBitPairs(packed));
  _mm512_store_ps(pairs, _mm512_mul_ps(HalfPairs512(halves), _mm512_cvtepi32_ps(bytes)));
  KeepInMemory(pairs);
}

HT_END_TARGET

}  // namespace halftone

#endif
