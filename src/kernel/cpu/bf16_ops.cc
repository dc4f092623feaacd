#include "kernel/cpu/bf16_ops.h"

#include <algorithm>
#include <cstring>

#include "kernel/cpu/bf16_amx.h"
#include "kernel/cpu/fast/avx512.h"

#if defined(__x86_64__)

namespace halftone {
namespace {

HT_TARGET("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

// The shape of a tile: so many tokens by four vectors of columns.
constexpr int kTokens = 6;
constexpr int kFour = 4;

HT_INLINE __m256i Rounded(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

void Round(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), Rounded(_mm512_loadu_ps(x + i)));
  }
  const int64_t end = (n + kBf16Vector - 1) / kBf16Vector * kBf16Vector;
  for (; i < end; i += 16) {
    const auto mask = static_cast<__mmask16>((1u << std::clamp<int64_t>(n - i, 0, 16)) - 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i),
                        Rounded(_mm512_maskz_loadu_ps(mask, x + i)));
  }
}

void PackRows(const float* first, const float* second, int64_t cols, int64_t k, uint32_t* blocks) {
  for (int64_t i = 0; i < cols; i += 16) {
    const int64_t count = std::min<int64_t>(16, cols - i);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    const __m256i low = Rounded(_mm512_maskz_loadu_ps(mask, first + i));
    const __m256i high = second == nullptr ? _mm256_setzero_si256()
                                           : Rounded(_mm512_maskz_loadu_ps(mask, second + i));
    const __m512i pair = _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    uint32_t* block = blocks + i / kBf16Columns * kBf16BlockPairs;
    _mm512_storeu_si512(block + k * kBf16Columns + i % kBf16Columns, pair);
  }
}

// Rows become columns: lane j of x[i] goes to lane i of x[j].
HT_INLINE void Turn(__m512i x[16]) {
  __m512i y[16];
  // Within each quarter of a vector, four by four.
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    const __m512i b = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(x[i + 2], x[i + 3]);
    const __m512i e = _mm512_unpackhi_epi32(x[i + 2], x[i + 3]);
    y[i] = _mm512_unpacklo_epi64(a, c);
    y[i + 1] = _mm512_unpackhi_epi64(a, c);
    y[i + 2] = _mm512_unpacklo_epi64(b, e);
    y[i + 3] = _mm512_unpackhi_epi64(b, e);
  }
  // Then the quarters themselves.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(y[j], y[j + 4], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(y[j], y[j + 4], 0xDD);
    const __m512i c = _mm512_shuffle_i32x4(y[j + 8], y[j + 12], 0x88);
    const __m512i e = _mm512_shuffle_i32x4(y[j + 8], y[j + 12], 0xDD);
    x[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    x[j + 4] = _mm512_shuffle_i32x4(b, e, 0x88);
    x[j + 8] = _mm512_shuffle_i32x4(a, c, 0xDD);
    x[j + 12] = _mm512_shuffle_i32x4(b, e, 0xDD);
  }
}

// Blocks of one panel column lie one behind the other, so pair k is 64 columns behind pair k - 1
// throughout.
void PackColumns(const void* rows, int64_t count, int64_t stride, uint32_t* blocks) {
  const auto* bytes = static_cast<const uint8_t*>(rows);
  for (int64_t i = 0; i < kBf16Columns; i += 16) {
    for (int64_t k = 0; k < stride / 2; k += 16) {
      __m512i lanes[16];
#pragma GCC unroll 16
      for (int64_t j = 0; j < 16; ++j) {
        lanes[j] = i + j < count ? _mm512_loadu_si512(bytes + 2 * (i + j) * stride + 4 * k)
                                 : _mm512_setzero_si512();
      }
      Turn(lanes);
#pragma GCC unroll 16
      for (int64_t j = 0; j < 16; ++j) {
        _mm512_storeu_si512(blocks + (k + j) * kBf16Columns + i, lanes[j]);
      }
    }
  }
}

template <int T>
HT_INLINE void MultiplyTile(const uint16_t* a, int64_t a_row, const uint32_t* block, int64_t pairs,
                            bool add, float* c, int64_t c_row) {
  __m512 sums[T][kFour];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kFour; ++v) {
      sums[t][v] = add ? _mm512_loadu_ps(c + t * c_row + 16 * v) : _mm512_setzero_ps();
    }
  }
  for (int64_t k = 0; k < pairs; ++k) {
    __m512bh bv[kFour];
#pragma GCC unroll 4
    for (int v = 0; v < kFour; ++v) {
      bv[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(block + k * kBf16Columns + 16 * v));
    }
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      int32_t pair;
      std::memcpy(&pair, a + t * a_row + 2 * k, 4);
      const auto av = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
      for (int v = 0; v < kFour; ++v) sums[t][v] = _mm512_dpbf16_ps(sums[t][v], av, bv[v]);
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kFour; ++v) _mm512_storeu_ps(c + t * c_row + 16 * v, sums[t][v]);
  }
}

// Of a block with fewer columns the results go through a copy.
template <int T>
void MultiplyTokens(const uint16_t* a, int64_t a_row, const uint32_t* block, int64_t pairs,
                    int64_t columns, bool add, float* c, int64_t c_row) {
  if (columns == kBf16Columns) return MultiplyTile<T>(a, a_row, block, pairs, add, c, c_row);
  float whole[T * kBf16Columns] = {};
  if (add) {
    for (int t = 0; t < T; ++t) std::copy_n(c + t * c_row, columns, whole + t * kBf16Columns);
  }
  MultiplyTile<T>(a, a_row, block, pairs, true, whole, kBf16Columns);
  for (int t = 0; t < T; ++t) std::copy_n(whole + t * kBf16Columns, columns, c + t * c_row);
}

void Multiply(const uint16_t* a, int64_t a_row, int64_t tokens, const uint32_t* block,
              int64_t depth, int64_t columns, bool add, float* c, int64_t c_row) {
  const int64_t pairs = (depth + 1) / 2;
  int64_t t = 0;
  const auto run = [&]<int T>() {
    for (; t + T <= tokens; t += T) {
      MultiplyTokens<T>(a + t * a_row, a_row, block, pairs, columns, add, c + t * c_row, c_row);
    }
  };
  run.template operator()<kTokens>();
  run.template operator()<1>();
}

HT_END_TARGET

}  // namespace

// Intel's VDPBF16PS takes as long as two FMAs, so that f32 products are the faster ones there.
const Bf16Ops* FindBf16Ops(Isa isa) {
  static constexpr Bf16Ops kVectors = {&Round, &PackRows, &PackColumns, &Multiply};
  if (isa != Isa::kAvx512 || !__builtin_cpu_supports("avx512bf16")) return nullptr;
  if (const Bf16Multiply tiles = FindAmxMultiply()) {
    static const Bf16Ops kTiles = {&Round, &PackRows, &PackColumns, tiles};
    return &kTiles;
  }
  return __builtin_cpu_is("amd") ? &kVectors : nullptr;
}

}  // namespace halftone

#else

namespace halftone {

const Bf16Ops* FindBf16Ops(Isa /*isa*/) { return nullptr; }

}  // namespace halftone

#endif
