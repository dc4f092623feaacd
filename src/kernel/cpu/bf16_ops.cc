#include "kernel/cpu/bf16_ops.h"

#include <algorithm>
#include <cstring>

#include "grid/grid.h"
#include "kernel/cpu/fast/avx512.h"

#if defined(__x86_64__)

namespace halftone {
namespace {

HT_TARGET("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

// The shape of a tile: so many tokens by four vectors of rows or columns.
constexpr int kTokens = 6;
constexpr int kFour = 4;
// Numbers of a row that a tile multiplies before it moves on: its ten rows stay in the first-level
// cache.
constexpr int64_t kStretch = 1024;

HT_INLINE __m512bh Load(const void* x) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(x)); }

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

template <int T, int R>
HT_INLINE void DotTile(const uint8_t* w, const uint16_t* x, int64_t stride, int64_t length,
                       bool add, float* y, int64_t y_stride) {
  __m512 sums[T][R];
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) sums[t][r] = _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < length; i += kBf16Vector) {
    __m512bh wv[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) wv[r] = Load(w + 2 * (r * stride + i));
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const __m512bh xv = Load(x + t * stride + i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[t][r] = _mm512_dpbf16_ps(sums[t][r], xv, wv[r]);
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      float& to = y[t * y_stride + r];
      const float sum = _mm512_reduce_add_ps(sums[t][r]);
      to = add ? to + sum : sum;
    }
  }
}

template <int T>
void DotTokens(const uint8_t* w, int64_t rows, const uint16_t* x, int64_t stride, float* y,
               int64_t y_stride) {
  for (int64_t i = 0; i < stride; i += kStretch) {
    const int64_t length = std::min(kStretch, stride - i);
    int64_t r = 0;
    for (; r + kFour <= rows; r += kFour) {
      DotTile<T, kFour>(w + 2 * (r * stride + i), x + i, stride, length, i > 0, y + r, y_stride);
    }
    for (; r < rows; ++r) {
      DotTile<T, 1>(w + 2 * (r * stride + i), x + i, stride, length, i > 0, y + r, y_stride);
    }
  }
}

void DotPanel(const void* weights, int64_t rows, const uint16_t* x, int64_t tokens, int64_t stride,
              float* y, int64_t y_stride) {
  const auto* w = static_cast<const uint8_t*>(weights);
  int64_t t = 0;
  const auto run = [&]<int T>() {
    for (; t + T <= tokens; t += T) {
      DotTokens<T>(w, rows, x + t * stride, stride, y + t * y_stride, y_stride);
    }
  };
  run.template operator()<kTokens>();
  run.template operator()<1>();
}

void PackPair(const float* first, const float* second, int64_t cols, int64_t k, uint32_t* packed) {
  for (int64_t i = 0; i < cols; i += 16) {
    const int64_t count = std::min<int64_t>(16, cols - i);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    const __m256i low = Rounded(_mm512_maskz_loadu_ps(mask, first + i));
    const __m256i high = second == nullptr ? _mm256_setzero_si256()
                                           : Rounded(_mm512_maskz_loadu_ps(mask, second + i));
    const __m512i pair = _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    const int64_t block = i / kBf16Columns;
    _mm512_storeu_si512(packed + (block * (kBf16Depth / 2) + k) * kBf16Columns + i % kBf16Columns,
                        pair);
  }
}

template <int T>
HT_INLINE void AddTile(const uint16_t* a, int64_t a_stride, const uint32_t* block, int64_t pairs,
                       float* c, int64_t c_row) {
  __m512 sums[T][kFour];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kFour; ++v) sums[t][v] = _mm512_loadu_ps(c + t * c_row + 16 * v);
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
      std::memcpy(&pair, a + t * a_stride + 2 * k, 4);
      const auto av = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
      for (int v = 0; v < kFour; ++v) sums[t][v] = _mm512_dpbf16_ps(sums[t][v], av, bv[v]);
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kFour; ++v) _mm512_storeu_ps(c + t * c_row + 16 * v, sums[t][v]);
  }
}

// Columns of a block beyond those that there are go to a copy.
template <int T>
void AddColumns(const uint16_t* a, int64_t a_stride, const uint32_t* block, int64_t pairs,
                int64_t columns, float* c, int64_t c_row) {
  if (columns == kBf16Columns) return AddTile<T>(a, a_stride, block, pairs, c, c_row);
  float whole[T * kBf16Columns] = {};
  for (int t = 0; t < T; ++t) std::copy_n(c + t * c_row, columns, whole + t * kBf16Columns);
  AddTile<T>(a, a_stride, block, pairs, whole, kBf16Columns);
  for (int t = 0; t < T; ++t) std::copy_n(whole + t * kBf16Columns, columns, c + t * c_row);
}

void AddProduct(const uint16_t* a, int64_t a_stride, int64_t tokens, const uint32_t* packed,
                int64_t depth, int64_t cols, float* c) {
  const int64_t pairs = (depth + 1) / 2;
  for (int64_t i = 0; i < cols; i += kBf16Columns) {
    const uint32_t* block = packed + i * (kBf16Depth / 2);
    const int64_t columns = std::min(kBf16Columns, cols - i);
    int64_t t = 0;
    for (; t + kTokens <= tokens; t += kTokens) {
      AddColumns<kTokens>(a + t * a_stride, a_stride, block, pairs, columns, c + t * cols + i,
                          cols);
    }
    for (; t < tokens; ++t) {
      AddColumns<1>(a + t * a_stride, a_stride, block, pairs, columns, c + t * cols + i, cols);
    }
  }
}

HT_END_TARGET

constexpr Bf16Ops kBf16Ops = {&Round, &DotPanel, &PackPair, &AddProduct};

}  // namespace

const Bf16Ops* FindBf16Ops(Isa isa) {
  const bool has = isa == Isa::kAvx512 && __builtin_cpu_supports("avx512bf16");
  return has ? &kBf16Ops : nullptr;
}

}  // namespace halftone

#else

namespace halftone {

const Bf16Ops* FindBf16Ops(Isa /*isa*/) { return nullptr; }

}  // namespace halftone

#endif
