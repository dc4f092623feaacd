// Products of many rounded tokens with a panel (kernel/cpu/rounded.h): integers in registers for a
// group of columns, then times step and scale to f32.
//
// Rows lie along the lanes, so that no sum crosses them. A tile is T tokens by 64 rows (AVX-512) or
// by 16 (AVX2, whose 16 registers hold no more); integer and float sums take 2 * T * (vectors of
// rows) registers. What codes are above their levels is taken off by starting the integers at
// -offset * total. Groups that a token of the tile has refined are multiplied once more, by f.

#pragma once

#include <algorithm>

#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

#define HT_PANEL 1

namespace halftone {

HT_BEGIN_VNNI

// Adds kWords words of the panel times those of T tokens, `x` the first one's.
template <int T, int kWords>
HT_INLINE void AddWordsVnni(const uint8_t* codes, const int8_t* x, __m512i (&products)[T][4]) {
#pragma GCC unroll 4
  for (int k = 0; k < kWords; ++k, codes += 4 * Panel::kRows) {
    __m512i w[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) w[v] = _mm512_load_si512(codes + 64 * v);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      int32_t word;
      std::memcpy(&word, x + t * static_cast<int64_t>(sizeof(RoundedBlock)) + 4 * k, sizeof word);
      const __m512i four = _mm512_set1_epi32(word);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        products[t][v] = _mm512_dpbusd_epi32(products[t][v], w[v], four);
      }
    }
  }
}

template <int T, int kGroup, bool kMinima>
void TileVnni(const Panel& panel, int offset, int groups, const RoundedBlock* x, bool first,
              float* sums) {
  constexpr int kVectors = 4, kWords = kGroup / 4;
  __m512 y[T][kVectors];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      y[t][v] = first ? _mm512_setzero_ps() : _mm512_load_ps(sums + t * Panel::kRows + 16 * v);
    }
  }
  const uint8_t* codes = panel.codes;
  uint32_t refined_groups = 0;
  for (int t = 0; t < T; ++t) refined_groups |= x[t].refined;
  for (int g = 0; g < groups; ++g) {
    __m512i products[T][kVectors];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const int32_t total = kGroup == 32 ? x[t].total[g] : x[t].total16[g];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) products[t][v] = _mm512_set1_epi32(-offset * total);
    }
    AddWordsVnni<T, kWords>(codes, &x->codes[kGroup * g], products);
    const int g32 = kGroup == 32 ? g : g / 2;
    const bool refined = (refined_groups >> g32 & 1) != 0;
    if (refined) {
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const int32_t total = kGroup == 32 ? x[t].fine_total[g] : x[t].fine_total16[g];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          products[t][v] = _mm512_sub_epi32(_mm512_slli_epi32(products[t][v], 8),
                                            _mm512_set1_epi32(offset * total));
        }
      }
      AddWordsVnni<T, kWords>(codes, &x->fine[kGroup * g], products);
    }
    codes += 4 * kWords * Panel::kRows;
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const __m512 scale = _mm512_set1_ps(refined ? x[t].fine_scale[g32] : x[t].scale[g32]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const __m512 step = _mm512_load_ps(panel.step + g * Panel::kRows + 16 * v);
        y[t][v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(products[t][v]), scale), step,
                                  y[t][v]);
      }
      if constexpr (kMinima) {
        const __m512 sum = _mm512_set1_ps(kGroup == 32 ? x[t].sum[g] : x[t].sum16[g]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const __m512 minimum = _mm512_load_ps(panel.minimum + g * Panel::kRows + 16 * v);
          y[t][v] = _mm512_fnmadd_ps(sum, minimum, y[t][v]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      _mm512_store_ps(sums + t * Panel::kRows + 16 * v, y[t][v]);
    }
  }
}

HT_END_TARGET

HT_BEGIN_AVX2

// The same for 16 rows. Products of unsigned codes are summed in 16 bits as far as those hold them,
// kDepth words; 0: codes are signed.
template <int T, int kWords, int kDepth>
HT_INLINE void AddWordsAvx2(const uint8_t* codes, const int8_t* x, __m256i (&products)[T][2]) {
  constexpr int kStep = std::clamp(kDepth, 1, kWords);
  for (int k = 0; k < kWords; k += kStep) {
    __m256i pairs[T][2];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) pairs[t][0] = pairs[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (int i = 0; i < kStep; ++i, codes += 4 * Panel::kRows) {
      const __m256i w[2] = {Load256(codes), Load256(codes + 32)};
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        int32_t word;
        std::memcpy(&word, x + t * static_cast<int64_t>(sizeof(RoundedBlock)) + 4 * (k + i),
                    sizeof word);
        const __m256i four = _mm256_set1_epi32(word);
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          pairs[t][v] = _mm256_add_epi16(pairs[t][v], ProductAvx2::Pairs<kDepth == 0>(w[v], four));
        }
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        products[t][v] =
            _mm256_add_epi32(products[t][v], _mm256_madd_epi16(pairs[t][v], _mm256_set1_epi16(1)));
      }
    }
  }
}

template <int T, int kGroup, bool kMinima, int kDepth>
void TileAvx2(const Panel& panel, int offset, int groups, const RoundedBlock* x, bool first,
              float* sums) {
  constexpr int kVectors = 2, kWords = kGroup / 4;
  for (int64_t row = 0; row < Panel::kRows; row += 8 * kVectors) {
    __m256 y[T][kVectors];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        y[t][v] =
            first ? _mm256_setzero_ps() : _mm256_load_ps(sums + t * Panel::kRows + row + 8 * v);
      }
    }
    const uint8_t* codes = panel.codes + 4 * row;
    uint32_t refined_groups = 0;
    for (int t = 0; t < T; ++t) refined_groups |= x[t].refined;
    for (int g = 0; g < groups; ++g) {
      __m256i products[T][kVectors];
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const int32_t total = kGroup == 32 ? x[t].total[g] : x[t].total16[g];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) products[t][v] = _mm256_set1_epi32(-offset * total);
      }
      AddWordsAvx2<T, kWords, kDepth>(codes, &x->codes[kGroup * g], products);
      const int g32 = kGroup == 32 ? g : g / 2;
      const bool refined = (refined_groups >> g32 & 1) != 0;
      if (refined) {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
          const int32_t total = kGroup == 32 ? x[t].fine_total[g] : x[t].fine_total16[g];
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            products[t][v] = _mm256_sub_epi32(_mm256_slli_epi32(products[t][v], 8),
                                              _mm256_set1_epi32(offset * total));
          }
        }
        AddWordsAvx2<T, kWords, kDepth>(codes, &x->fine[kGroup * g], products);
      }
      codes += 4 * kWords * Panel::kRows;
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m256 scale = _mm256_set1_ps(refined ? x[t].fine_scale[g32] : x[t].scale[g32]);
        const __m256 sum = _mm256_set1_ps(kGroup == 32 ? x[t].sum[g] : x[t].sum16[g]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = g * Panel::kRows + row + 8 * v;
          const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(products[t][v]), scale);
          y[t][v] = _mm256_fmadd_ps(scaled, _mm256_load_ps(panel.step + at), y[t][v]);
          if constexpr (kMinima) {
            y[t][v] = _mm256_fnmadd_ps(sum, _mm256_load_ps(panel.minimum + at), y[t][v]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        _mm256_store_ps(sums + t * Panel::kRows + row + 8 * v, y[t][v]);
      }
    }
  }
}

HT_END_TARGET

// Calls tile<T>(x, sums) for all tokens, kTokens at a time.
template <int kTokens, class Tile>
void ForTiles(const RoundedBlock* x, int64_t tokens, float* sums, Tile&& tile) {
  int64_t t = 0;
  const auto run = [&]<int T>() {
    for (; t + T <= tokens; t += T) tile.template operator()<T>(x + t, sums + t * Panel::kRows);
  };
  run.template operator()<kTokens>();
  if constexpr (kTokens > 2) run.template operator()<2>();
  run.template operator()<1>();
}

// Calls with<group, minima> as the form says.
template <class With>
void ForForm(const PanelForm& form, With&& with) {
  if (form.group == 32) {
    return form.minima ? with.template operator()<32, true>()
                       : with.template operator()<32, false>();
  }
  form.minima ? with.template operator()<16, true>() : with.template operator()<16, false>();
}

inline void MultiplyVnni(const Panel& panel, const PanelForm& form, int64_t columns,
                         const RoundedBlock* x, int64_t tokens, bool first, float* sums) {
  ForForm(form, [&]<int kGroup, bool kMinima>() {
    const auto groups = static_cast<int>((columns + kGroup - 1) / kGroup);
    ForTiles<3>(x, tokens, sums, [&]<int T>(const RoundedBlock* xt, float* to) {
      TileVnni<T, kGroup, kMinima>(panel, form.offset, groups, xt, first, to);
    });
  });
}

inline void MultiplyAvx2(const Panel& panel, const PanelForm& form, int64_t columns,
                         const RoundedBlock* x, int64_t tokens, bool first, float* sums) {
  ForForm(form, [&]<int kGroup, bool kMinima>() {
    const auto groups = static_cast<int>((columns + kGroup - 1) / kGroup);
    ForTiles<2>(x, tokens, sums, [&]<int T>(const RoundedBlock* xt, float* to) {
      // The most words whose pairs of products, at most 127 times the largest code each, fit.
      const int depth = form.wide ? 0 : 32767 / (2 * 127 * form.largest);
      if (depth == 0) {
        TileAvx2<T, kGroup, kMinima, 0>(panel, form.offset, groups, xt, first, to);
      } else if (depth < 4) {
        TileAvx2<T, kGroup, kMinima, 2>(panel, form.offset, groups, xt, first, to);
      } else if (depth < 8) {
        TileAvx2<T, kGroup, kMinima, 4>(panel, form.offset, groups, xt, first, to);
      } else {
        TileAvx2<T, kGroup, kMinima, 8>(panel, form.offset, groups, xt, first, to);
      }
    });
  });
}

}  // namespace halftone

#endif
