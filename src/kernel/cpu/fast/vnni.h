// Sums of products of bytes by AVX-512 VNNI, for kernel/cpu/int8_ops.cc: one instruction multiplies
// four columns of 16 rows and adds them up, which Highway 1.0 has no name for.

#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernel/cpu/int8_ops.h"

#define HT_VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace halftone {

inline bool HasVnni() { return __builtin_cpu_supports("avx512vnni"); }

// T tokens by the 64 rows of a panel, an accumulator for each 16 rows of a token.
template <int T>
HT_VNNI_TARGET void DotVnniTile(const uint8_t* panel, int64_t words, const int32_t* x,
                                int64_t stride, int32_t* sums) {
  // Unrolled throughout, or the sums would live in memory.
  __m512i sum[T][4];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[t][v] = _mm512_setzero_si512();
  }
  for (int64_t k = 0; k < words; ++k, panel += 256) {
    __m512i w[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) w[v] = _mm512_loadu_si512(panel + v * 64);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      const __m512i codes = _mm512_set1_epi32(x[t * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sum[t][v] = _mm512_dpbusd_epi32(sum[t][v], w[v], codes);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_storeu_si512(sums + t * 64 + v * 16, sum[t][v]);
  }
}

inline void DotVnni(const uint8_t* panel, int64_t words, const Int8Batch& batch, int64_t first,
                    int count, int32_t* sums) {
  static_assert(kInt8Tokens == 6 && Int8Weights::kPanel == 64);
  constexpr decltype(&DotVnniTile<1>) kTiles[] = {&DotVnniTile<1>, &DotVnniTile<2>,
                                                  &DotVnniTile<3>, &DotVnniTile<4>,
                                                  &DotVnniTile<5>, &DotVnniTile<6>};
  const int32_t* x = batch.codes.data() + first * batch.stride;
  kTiles[count - 1](panel, words, x, batch.stride, sums);
}

}  // namespace halftone
