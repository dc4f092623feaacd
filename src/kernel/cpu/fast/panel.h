// Products of many rounded tokens with a panel (kernel/cpu/rounded.h): integers in registers for a
// group of columns, then times its steps to f32, at the end of the stretch times the token's scale.
//
// Rows lie along the lanes, so that no sum crosses them. A tile is T tokens by 64 rows (AVX-512) or
// by 16 (AVX2, whose 16 registers hold no more); integer and float sums take 2 * T * (vectors of
// rows) registers. What codes are above their levels is taken off by starting the integers at
// -offset * total. Groups that are large in a token of the tile are multiplied by h first.

#pragma once

#include <algorithm>

#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

#define HT_PANEL 1

namespace halftone {

HT_BEGIN_VNNI

// Adds the products of kWords words of the panel with those of T tokens, `x` the first one's.
template <int T, int kWords>
HT_INLINE void AddWordsVnni(const uint8_t* codes, const int8_t* x, __m512i (&products)[T][4]) {
#pragma GCC unroll 8
  for (int k = 0; k < kWords; ++k) {
    __m512i w[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) w[v] = _mm512_load_si512(codes + 4 * Panel::kRows * k + 64 * v);
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
    // Loads of the next word would push sums out of the registers.
    asm volatile("" ::: "memory");
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
    for (int v = 0; v < kVectors; ++v) y[t][v] = _mm512_setzero_ps();
  }
  const uint8_t* codes = panel.codes;
  const float* step = panel.step;
  uint32_t large = 0;
  for (int t = 0; t < T; ++t) large |= x[t].large;
  for (int g = 0; g < groups; ++g) {
    __m512i products[T][kVectors];
    const int8_t* low = &x->codes[kGroup * g];
    const auto total = [&](int t) {
      return _mm512_set1_epi32(offset * (kGroup == 32 ? x[t].total[g] : x[t].total16[g]));
    };
    if ((large >> (kGroup * g / 32) & 1) == 0) [[likely]] {
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(), total(t));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) products[t][v] = start;
      }
    } else {
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) products[t][v] = _mm512_setzero_si512();
      }
      AddWordsVnni<T, kWords>(codes, &x->high[kGroup * g], products);
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m512i off = total(t);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          products[t][v] = _mm512_sub_epi32(_mm512_slli_epi32(products[t][v], 7), off);
        }
      }
    }
    AddWordsVnni<T, kWords>(codes, low, products);
    codes += 4 * kWords * Panel::kRows;
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        y[t][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[t][v]), _mm512_load_ps(step + 16 * v),
                                  y[t][v]);
      }
    }
    step += Panel::kRows;
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    const __m512 scale = _mm512_set1_ps(x[t].scale);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const __m512 before = _mm512_load_ps(sums + t * Panel::kRows + 16 * v);
      y[t][v] = _mm512_fmadd_ps(y[t][v], scale, first ? _mm512_setzero_ps() : before);
    }
  }
  if constexpr (kMinima) {
    const float* minimum = panel.minimum;
    for (int g = 0; g < groups; ++g, minimum += Panel::kRows) {
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m512 sum = _mm512_set1_ps(kGroup == 32 ? x[t].sum[g] : x[t].sum16[g]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          y[t][v] = _mm512_fnmadd_ps(sum, _mm512_load_ps(minimum + 16 * v), y[t][v]);
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
  uint32_t large = 0;
  for (int t = 0; t < T; ++t) large |= x[t].large;
  for (int64_t row = 0; row < Panel::kRows; row += 8 * kVectors) {
    __m256 y[T][kVectors];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) y[t][v] = _mm256_setzero_ps();
    }
    const uint8_t* codes = panel.codes + 4 * row;
    const float* step = panel.step + row;
    for (int g = 0; g < groups; ++g) {
      __m256i products[T][kVectors];
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) products[t][v] = _mm256_setzero_si256();
      }
      if ((large >> (kGroup * g / 32) & 1) != 0) [[unlikely]] {
        AddWordsAvx2<T, kWords, kDepth>(codes, &x->high[kGroup * g], products);
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) products[t][v] = _mm256_slli_epi32(products[t][v], 7);
        }
      }
      AddWordsAvx2<T, kWords, kDepth>(codes, &x->codes[kGroup * g], products);
      codes += 4 * kWords * Panel::kRows;
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const __m256i off =
            _mm256_set1_epi32(offset * (kGroup == 32 ? x[t].total[g] : x[t].total16[g]));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          y[t][v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(products[t][v], off)),
                                    _mm256_load_ps(step + 8 * v), y[t][v]);
        }
      }
      step += Panel::kRows;
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      float* to = sums + t * Panel::kRows + row;
      const __m256 scale = _mm256_set1_ps(x[t].scale);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const __m256 before = first ? _mm256_setzero_ps() : _mm256_load_ps(to + 8 * v);
        y[t][v] = _mm256_fmadd_ps(y[t][v], scale, before);
      }
    }
    if constexpr (kMinima) {
      const float* minimum = panel.minimum + row;
      for (int g = 0; g < groups; ++g, minimum += Panel::kRows) {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
          const __m256 sum = _mm256_set1_ps(kGroup == 32 ? x[t].sum[g] : x[t].sum16[g]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            y[t][v] = _mm256_fnmadd_ps(sum, _mm256_load_ps(minimum + 8 * v), y[t][v]);
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
