// The kernels that the codes of a grid (codes.h) make: the product with one token, 32 columns at a
// time with AVX2 and 64 with AVX-512 VNNI, and the filling of a panel for many tokens. C reads the
// codes of a row: CodesOfBlocks<G> or, in groups.h, CodesOfGroupedRows.

#pragma once

#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

// The sum of one row's products with a token, 32 columns at a time.
template <class C>
struct DotCodes256 {
  using Product = ProductAvx2;
  static constexpr PanelForm kForm = FormFor<C, Product>();
  const RoundedBlock* x;
  __m256 sum;
  __m256 low, high;  // steps times the token's scales; groups of 32 are all in `low`

  HT_INLINE explicit DotCodes256(const RoundedBlock* blocks)
      : x(blocks), sum(_mm256_setzero_ps()) {}

  HT_INLINE void Steps(__m256 s) {
    if constexpr (kForm.offset != 0) Take(_mm256_mul_ps(s, _mm256_set1_ps(kForm.offset)), x->sum);
    low = _mm256_mul_ps(s, _mm256_set1_ps(x->scale));
  }
  HT_INLINE void Steps(__m256 l, __m256 h) {
    if constexpr (kForm.offset != 0) {
      const __m256 offset = _mm256_set1_ps(kForm.offset);
      Take(_mm256_mul_ps(l, offset), x->sum16);
      Take(_mm256_mul_ps(h, offset), x->sum16 + 8);
    }
    const __m256 scale = _mm256_set1_ps(x->scale);
    low = _mm256_mul_ps(l, scale);
    high = _mm256_mul_ps(h, scale);
  }
  HT_INLINE void Minima(__m256 m) { Take(m, x->sum); }
  HT_INLINE void Minima(__m256 l, __m256 h) {
    Take(l, x->sum16);
    Take(h, x->sum16 + 8);
  }
  // The codes of group g of 32 alone, for the end of a row; Clear comes first.
  HT_INLINE void Clear() {}
  HT_INLINE void One(int g, __m256i codes, float step, float minimum) {
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(Products(g, codes)), _mm256_set1_ps(step * x->scale),
                          sum);
    const float taken = (step * kForm.offset + minimum) * x->sum[g];
    sum = _mm256_sub_ps(sum, _mm256_zextps128_ps256(_mm_set_ss(taken)));
  }
  HT_INLINE void operator()(int j, __m256i codes) {
    const __m256 step = kForm.group == 32 ? _mm256_permutevar8x32_ps(low, _mm256_set1_epi32(j))
                                          : SpreadPair(j < 4 ? low : high, j);
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(Products(j, codes)), step, sum);
  }
  HT_INLINE __m256 Sum() const { return sum; }

 private:
  HT_INLINE __m256i Products(int j, __m256i codes) const {
    const __m256i sums = Product::template Of<kForm.wide>(codes, Load256(x->codes + 32 * j));
    if ((x->large & (1u << j)) == 0) [[likely]] {
      return sums;
    }
    const __m256i high = Product::template Of<kForm.wide>(codes, Load256(x->high + 32 * j));
    return _mm256_add_epi32(sums, _mm256_slli_epi32(high, 7));
  }
  HT_INLINE void Take(__m256 m, const float* sums) {
    sum = _mm256_fnmadd_ps(m, _mm256_load_ps(sums), sum);
  }
};

#if defined(HT_VNNI_UNIT)

// The same with 64 columns at a time: a pair, or two calls.
template <class C>
struct DotCodes512 {
  using Product = ProductVnni;
  static constexpr PanelForm kForm = FormFor<C, Product>();
  const RoundedBlock* x;
  __m512 sum;
  __m256 others;  // what is not summed over columns: minima, the ends of rows
  __m512 steps;   // times the token's scales, of 8 or 16 groups
  __m256i first;  // of two neighbouring calls

  HT_INLINE explicit DotCodes512(const RoundedBlock* blocks)
      : x(blocks), sum(_mm512_setzero_ps()), others(_mm256_setzero_ps()) {}

  HT_INLINE void Steps(__m256 s) {
    if constexpr (kForm.offset != 0) Take(_mm256_mul_ps(s, _mm256_set1_ps(kForm.offset)), x->sum);
    steps = _mm512_castps256_ps512(_mm256_mul_ps(s, _mm256_set1_ps(x->scale)));
  }
  HT_INLINE void Steps(__m512 s) {
    if constexpr (kForm.offset != 0) Minima(_mm512_mul_ps(s, _mm512_set1_ps(kForm.offset)));
    steps = _mm512_mul_ps(s, _mm512_set1_ps(x->scale));
  }
  HT_INLINE void Minima(__m256 m) { Take(m, x->sum); }
  HT_INLINE void Minima(__m512 m) { sum = _mm512_fnmadd_ps(m, _mm512_loadu_ps(x->sum16), sum); }
  HT_INLINE void Clear() {}
  HT_INLINE void One(int g, __m256i codes, float step, float minimum) {
    others = _mm256_fmadd_ps(_mm256_cvtepi32_ps(Products(g, codes)),
                             _mm256_set1_ps(step * x->scale), others);
    const float taken = (step * kForm.offset + minimum) * x->sum[g];
    others = _mm256_sub_ps(others, _mm256_zextps128_ps256(_mm_set_ss(taken)));
  }
  HT_INLINE void operator()(int j, __m256i codes) {
    if (j % 2 == 0) {
      first = codes;
      return;
    }
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(first), codes, 1);
    Pair(j / 2, kForm.wide ? _mm512_xor_si512(both, _mm512_set1_epi8(-128)) : both);
  }
  HT_INLINE void Pair(int p, __m512i codes) {
    const __m512i lanes = kForm.group == 32
                              ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                              : _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i group = _mm512_add_epi32(lanes, _mm512_set1_epi32(64 * p / kForm.group));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(Products(p, codes)),
                          _mm512_permutexvar_ps(group, steps), sum);
  }
  HT_INLINE __m256 Sum() const {
    return _mm256_add_ps(_mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1)),
                         others);
  }

 private:
  HT_INLINE void Take(__m256 m, const float* sums) {
    others = _mm256_fnmadd_ps(m, _mm256_load_ps(sums), others);
  }
  HT_INLINE bool Large(int p) const { return (x->large & (3u << 2 * p)) != 0; }
  HT_INLINE __m512i Products(int p, __m512i codes) const {
    __m512i sums = _mm512_setzero_si512();
    if (Large(p)) [[unlikely]] {
      const __m512i high = _mm512_load_si512(x->high + 64 * p);
      sums = _mm512_slli_epi32(_mm512_dpbusd_epi32(sums, codes, high), 7);
    }
    return _mm512_dpbusd_epi32(sums, codes, _mm512_load_si512(x->codes + 64 * p));
  }
  HT_INLINE __m256i Products(int g, __m256i codes) const {
    if constexpr (kForm.wide) codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    const __m256i sums =
        _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, Load256(x->high + 32 * g));
    return _mm256_dpbusd_epi32(_mm256_slli_epi32(sums, 7), codes, Load256(x->codes + 32 * g));
  }
};

#endif

// How far ahead each of four streams is asked for.
inline constexpr int64_t kStreamPrefetchBytes = 3072;

// Four rows at a time, which share the token's blocks; kernel/cpu/rounded.h has the arguments. They
// lie a quarter of all rows apart: four streams get more from the memory than one.
template <class C, class Sink>
void DotRowsOfCodes(const Grid& grid, const uint8_t* rows, int64_t row_bytes, int64_t count,
                    const RoundedBlock* x, int64_t cols, float* y) {
  const int64_t steps = cols / kRoundedColumns, rest = cols % kRoundedColumns;
  const int64_t step_bytes = row_bytes / RoundedBlocks(cols);
  const int64_t apart = (count + 3) / 4;
  for (int64_t r = 0; r < apart; ++r) {
    int64_t row[4];
    for (int i = 0; i < 4; ++i) row[i] = std::min(i * apart + r, count - 1);
    Sink sa(x), sb(x), sc(x), se(x);
    C a(grid, rows + row[0] * row_bytes, 0);
    C b(grid, rows + row[1] * row_bytes, 0);
    C c(grid, rows + row[2] * row_bytes, 0);
    C e(grid, rows + row[3] * row_bytes, 0);
    for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 4
      for (const int64_t r4 : row) {
        PrefetchAhead(rows, r4 * row_bytes + i * step_bytes, step_bytes, kStreamPrefetchBytes);
      }
      a.Step(sa);
      b.Step(sb);
      c.Step(sc);
      e.Step(se);
      sa.x = sb.x = sc.x = se.x = x + i + 1;
    }
    if (rest > 0) a.Rest(sa, rest), b.Rest(sb, rest), c.Rest(sc, rest), e.Rest(se, rest);
    float sums[4];
    _mm_storeu_ps(sums, Sums256(sa.Sum(), sb.Sum(), sc.Sum(), se.Sum()));
    for (int i = 0; i < 4; ++i) y[row[i]] = sums[i];
  }
}

// One row's stretch as a panel wants it before rows are turned.
template <class C, class Product>
struct RowOfPanel {
  uint8_t* codes;  // [256]
  float* steps;    // [16]
  float* minima;   // [16]

  HT_INLINE void Steps(__m256 s) { _mm256_store_ps(steps, s); }
  HT_INLINE void Steps(__m256 l, __m256 h) {
    _mm256_store_ps(steps, l);
    _mm256_store_ps(steps + 8, h);
  }
  HT_INLINE void Minima(__m256 m) { _mm256_store_ps(minima, m); }
  HT_INLINE void Minima(__m256 l, __m256 h) {
    _mm256_store_ps(minima, l);
    _mm256_store_ps(minima + 8, h);
  }
#if defined(HT_VNNI_UNIT)
  HT_INLINE void Steps(__m512 s) { _mm512_store_ps(steps, s); }
  HT_INLINE void Minima(__m512 m) { _mm512_store_ps(minima, m); }
#endif
  HT_INLINE void Clear() {
    std::fill_n(steps, 8, 0.0f);
    std::fill_n(minima, 8, 0.0f);
  }
  HT_INLINE void One(int g, __m256i c, float step, float minimum) {
    (*this)(g, c);
    steps[g] = step;
    minima[g] = minimum;
  }
  HT_INLINE void operator()(int j, __m256i c) {
    if (FormFor<C, Product>().wide && Product::kOffset != 0) {
      c = _mm256_xor_si256(c, _mm256_set1_epi8(-128));
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(codes + 32 * j), c);
  }
#if defined(HT_VNNI_UNIT)
  HT_INLINE void Pair(int p, __m512i c) { _mm512_store_si512(codes + 64 * p, c); }
#endif
};

#if defined(HT_VNNI_UNIT)

// Turns 16 x 16 words: to[i * to_stride + j] = from[j * from_stride + i].
HT_INLINE void Turn16(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m512 a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_load_ps(from + i * from_stride);
    // 4 x 4 words in each lane of 128 bits, then the lanes.
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const __m512d even = _mm512_castps_pd(b[i + k]), odd = _mm512_castps_pd(b[i + k + 2]);
      a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(even, odd));
      a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD);
    b[i + 8] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_store_ps(to + i * to_stride, _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88));
    _mm512_store_ps(to + (i + 4) * to_stride, _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0x88));
    _mm512_store_ps(to + (i + 8) * to_stride, _mm512_shuffle_f32x4(b[i], b[i + 8], 0xDD));
    _mm512_store_ps(to + (i + 12) * to_stride, _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0xDD));
  }
}

#endif

// unpacklo and unpackhi of pairs of floats.
HT_INLINE __m256 LowPairs256(__m256 a, __m256 b) {
  return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
HT_INLINE __m256 HighPairs256(__m256 a, __m256 b) {
  return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

// Turns 8 x 8 words: to[i * to_stride + j] = from[j * from_stride + i].
HT_INLINE void Turn8(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_load_ps(from + i * from_stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    a[i] = LowPairs256(b[i], b[i + 2]);
    a[i + 1] = HighPairs256(b[i], b[i + 2]);
    a[i + 2] = LowPairs256(b[i + 1], b[i + 3]);
    a[i + 3] = HighPairs256(b[i + 1], b[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_store_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_store_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

// Turns as many words as the product says.
template <class Product>
HT_INLINE void TurnWords(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#if defined(HT_VNNI_UNIT)
  if constexpr (Product::kTurned == 16) return Turn16(from, from_stride, to, to_stride);
#endif
  Turn8(from, from_stride, to, to_stride);
}

// Fills a panel. A panel's next stretch, or the next panel, is asked for meanwhile: rows are read
// in pieces, which the processor does not foresee.
template <class C, class Product>
void UnpackCodes(const Grid& grid, const uint8_t* rows, int64_t row_bytes, int64_t count,
                 int64_t stretch, int64_t cols, Panel& panel) {
  constexpr int64_t kTurned = Product::kTurned;  // rows at a time
  constexpr int64_t kGroups = kRoundedColumns / C::kForm.group;
  const int64_t columns = std::min(kRoundedColumns, cols - stretch * kRoundedColumns);
  const int64_t stretches = RoundedBlocks(cols), step_bytes = row_bytes / stretches;
  const int64_t next_panel = Panel::kRows * row_bytes - stretch * step_bytes;
  for (int64_t r0 = 0; r0 < Panel::kRows; r0 += kTurned) {
    if (r0 >= count) {
      // Anything will do that is a number.
      for (int64_t g = 0; g < kGroups; ++g) {
        std::fill_n(panel.step + g * Panel::kRows + r0, kTurned, 0.0f);
        std::fill_n(panel.minimum + g * Panel::kRows + r0, kTurned, 0.0f);
      }
      continue;
    }
    for (int64_t i = 0; i < kTurned; ++i) {
      const int64_t r = std::min(r0 + i, count - 1);
      const int64_t next = stretch + 1 < stretches ? step_bytes : next_panel;
      Prefetch(rows, r * row_bytes + stretch * step_bytes + next, step_bytes + 63);
      C reader(grid, rows + r * row_bytes, stretch);
      RowOfPanel<C, Product> sink{panel.rows + i * kRoundedColumns, panel.row_steps + i * 16,
                                  panel.row_minima + i * 16};
      if (columns == kRoundedColumns) {
        reader.Step(sink);
      } else {
        reader.Rest(sink, columns);
      }
    }
    const auto* codes = reinterpret_cast<const float*>(panel.rows);
    auto* turned = reinterpret_cast<float*>(panel.codes);
    for (int64_t k = 0; k < kRoundedColumns / 4; k += kTurned) {
      TurnWords<Product>(codes + k, kRoundedColumns / 4, turned + k * Panel::kRows + r0,
                         Panel::kRows);
    }
    for (int64_t g = 0; g < kGroups; g += kTurned) {
      TurnWords<Product>(panel.row_steps + g, 16, panel.step + g * Panel::kRows + r0, Panel::kRows);
      if (C::kForm.minima) {
        TurnWords<Product>(panel.row_minima + g, 16, panel.minimum + g * Panel::kRows + r0,
                           Panel::kRows);
      }
    }
  }
}

HT_END_TARGET

// Sink: DotCodes256 or DotCodes512, after which the kernels are named, so that those of units for
// different instruction sets are different functions.
template <class C, class Sink>
constexpr RoundedKernels kRounded = {FormFor<C, typename Sink::Product>(), &DotRowsOfCodes<C, Sink>,
                                     &UnpackCodes<C, typename Sink::Product>};

// What the instruction set that this unit is compiled for multiplies by.
#if defined(HT_VNNI_UNIT)
template <class C>
using DotCodesHere = DotCodes512<C>;
#else
template <class C>
using DotCodesHere = DotCodes256<C>;
#endif

}  // namespace halftone

#endif
