// Codes of 64 columns in a vector of AVX-512: what units for AVX-512 VNNI unpack pairs of groups
// with (codes.h).

#pragma once

#include <algorithm>

#include "kernel/cpu/fast/avx2.h"

#if defined(__x86_64__) && defined(HT_VNNI_UNIT)

namespace halftone {

HT_BEGIN_VNNI

// Bits of a where `mask`, the same for each byte, is set; else of b.
HT_INLINE __m512i Select512(int mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xCA);
}
HT_INLINE __m512i Nibbles512Shifts() {
  return _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
}

// 32 bytes, twice; and a number for the 16-bit or 32-bit words of each half.
HT_INLINE __m512i Twice512(const uint8_t* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
HT_INLINE __m512i Halves16(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi16(static_cast<int16_t>(low)),
                            _mm256_set1_epi16(static_cast<int16_t>(high)), 1);
}
HT_INLINE __m512i Halves32(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
}

// Fields of kBits bits: those of each byte of the two halves of `twice` that begin at bits `low`
// and `high`.
template <int kBits>
HT_INLINE __m512i Fields512(__m512i twice, int low, int high) {
  return _mm512_and_si512(_mm512_srlv_epi16(twice, Halves16(low, high)),
                          _mm512_set1_epi8((1 << kBits) - 1));
}

// The same with one bit more on top: bit `low_bit` and `high_bit` of each byte of `top`.
template <int kBits>
HT_INLINE __m512i Fields512(__m512i twice, int low, int high, __m512i top, int low_bit,
                            int high_bit) {
  const __m512i q = _mm512_srlv_epi16(twice, Halves16(low, high));
  // Rotated, a byte's bit comes to where it belongs, others somewhere else.
  const __m512i turned =
      _mm512_rolv_epi32(top, Halves32((kBits - low_bit) & 31, (kBits - high_bit) & 31));
  const __m512i both = Select512((1 << kBits) - 1, q, turned);
  return _mm512_and_si512(both, _mm512_set1_epi8((2 << kBits) - 1));
}

// The low and the high 4 bits of each half's 16 bytes, as Nibbles256 of either.
HT_INLINE __m512i NibblePairs512(__m256i bytes) {
  const __m512i twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                                 _mm512_castsi256_si512(bytes));
  return _mm512_and_si512(_mm512_srlv_epi32(twice, Nibbles512Shifts()), _mm512_set1_epi8(15));
}

// The same of the two of eight blocks of kBytes bytes each at `blocks` that are pair p, whose codes
// begin kHeader bytes into them. Reads inside the eight.
template <int kBytes, int kHeader>
HT_INLINE __m512i NibblePairs512(const uint8_t* blocks, int p) {
  static_assert(kBytes % 2 == 0 && kHeader % 2 == 0 && 2 * kBytes <= 64);
  const int from = std::min(2 * kBytes * p, 8 * kBytes - 64);
  const int first = (2 * kBytes * p + kHeader - from) / 2, second = first + kBytes / 2;
  const __m512i steps = _mm512_set4_epi64(0x0007000600050004, 0x0003000200010000,
                                          0x0007000600050004, 0x0003000200010000);
  const __m512i index = _mm512_add_epi16(steps, Halves16(first, second));
  const __m512i twice = _mm512_permutexvar_epi16(index, _mm512_loadu_si512(blocks + from));
  return _mm512_and_si512(_mm512_srlv_epi32(twice, Nibbles512Shifts()), _mm512_set1_epi8(15));
}

// 16 bytes as numbers.
HT_INLINE __m512 Unsigned512(__m128i bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
HT_INLINE __m512 Signed512(__m128i bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

// The levels, with 128 added, of 64 codes.
HT_INLINE __m512i LookUp512(__m128i levels, __m512i codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_xor_si128(levels, _mm_set1_epi8(-128))),
                             codes);
}

HT_END_TARGET

}  // namespace halftone

#endif
