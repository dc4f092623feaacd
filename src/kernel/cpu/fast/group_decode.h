// Decoding in AVX2 registers of the grids of grid/grouped.h that have 16 levels and groups of whole
// multiples of 32 weights, whose codes lie as Q4_0's do: NF4, FP4, E2M1, integers of 4 bits. A
// group's 16 values wait in two registers.

#pragma once

#include "grid/grouped.h"
#include "kernel/cpu/decode.h"
#include "kernel/cpu/fast/avx512.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

// RoundToReal of eight values.
HT_INLINE __m256 RoundToReal256(Real real, __m256 v) {
  if (real == Real::kF32) return v;
  if (real == Real::kF16) return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256 nearest =
      _mm256_castsi256_ps(_mm256_and_si256(rounded, _mm256_set1_epi32(-0x10000)));
  // A number that is none stays none.
  return _mm256_blendv_ps(nearest, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

inline void DecodeSixteenLevels(const Grid& grid, const uint8_t* blocks, int64_t n,
                                float* weights) {
  const GroupedSpec& spec = *grid.grouped;
  const float* levels = LevelsOfCodes(grid).data();
  const int64_t header = grid.bytes - grid.block / 2;
  const bool has_zero = spec.levels == GroupedLevels::kInteger && !spec.symmetric;
  const __m256i low = _mm256_set1_epi32(15);
  for (int64_t at = 0; at < n; at += grid.block, blocks += grid.bytes) {
    const __m256 scale = _mm256_set1_ps(LoadReal(spec.scale, blocks));
    const __m256 zero = _mm256_set1_ps(has_zero ? static_cast<float>(blocks[header - 1]) : 0.0f);
    const __m256 after = _mm256_set1_ps(spec.after);
    const auto valued = [&](int first) {
      const __m256 product =
          _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(levels + first), zero), scale);
      return RoundToReal256(spec.value, _mm256_mul_ps(product, after));
    };
    const __m256 small = valued(0), large = valued(8);
    const auto look_up = [&](__m256i codes, float* to) {
      const __m256 either = _mm256_blendv_ps(_mm256_permutevar8x32_ps(small, codes),
                                             _mm256_permutevar8x32_ps(large, codes),
                                             _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));
      _mm256_storeu_ps(to, either);
    };
    for (int64_t e = 0; e < grid.block; e += 32) {
      const uint8_t* packed = blocks + header + e / 2;
      float* to = weights + at + e;
      for (int half = 0; half < 16; half += 8) {
        const __m256i both =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed + half)));
        look_up(_mm256_and_si256(both, low), to + half);
        look_up(_mm256_srli_epi32(both, 4), to + 16 + half);
      }
    }
  }
}

HT_END_TARGET

}  // namespace halftone

#endif
