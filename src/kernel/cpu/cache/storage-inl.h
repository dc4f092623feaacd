// What all storages of kernel/cpu/attention.h share: the functions of the record, made from what
// a storage says of its codes. A storage S is a struct with
//
//   kGroup         dimensions that share a scale; 0: no scales, the head is one group
//   kCodeBytes     bytes of a code
//   kPair          dimensions that a code holds: dimension r of a group's first half and, for 2,
//                  r of its second
//   Holds(grid)    whether it keeps that grid
//   Load(at, v)    v[h], h < kPair, from kLanes codes at `at`, as floats without their scale
//   StoreGroup(grid, x, codes)
//                  rounds the group x[] (a head's floats where there are no scales) into codes[]
//                  and returns the scale
//
// Compiled for each instruction set by Highway's foreach_target.

#if defined(HALFTONE_KERNEL_CPU_CACHE_STORAGE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_KERNEL_CPU_CACHE_STORAGE_INL_H_
#undef HALFTONE_KERNEL_CPU_CACHE_STORAGE_INL_H_
#else
#define HALFTONE_KERNEL_CPU_CACHE_STORAGE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "hwy/highway.h"
#include "kernel/cpu/attention.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr D d;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
static_assert(kCacheTile % kLanes == 0);

// Accumulators that leave registers for the operands.
constexpr int kAccumulators = kLanes >= 16 ? 16 : 8;

HWY_INLINE V LoadHalves(const uint8_t* at) {
  const hn::Rebind<hwy::float16_t, D> d16;
  const V v = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(at)));
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return v;
#else
  // Emulation takes infinities and NaN for large numbers. No storage writes an infinity.
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  return hn::IfThenElse(hn::Gt(hn::Abs(v), hn::Set(d, 65504.0f)), nan, v);
#endif
}

// A number as f16: beyond the format's range its largest, not finite NaN.
HWY_INLINE uint16_t ToHalf(float x) {
  if (!std::isfinite(x)) return F32ToF16(std::numeric_limits<float>::quiet_NaN());
  return F32ToF16(std::clamp(x, -65504.0f, 65504.0f));
}

// Where codes lie in a tile of a padded head.
template <class S>
struct Layout {
  static constexpr bool kScaled = S::kGroup > 0;
  static constexpr int64_t kScaleBytes = kScaled ? kCacheTile * 2 : 0;
  // Vectors of codes in a group's row of values; of scaled storages only.
  static constexpr int kLoads = static_cast<int>(S::kGroup / S::kPair) / kLanes;

  explicit Layout(int64_t padded)
      : group(kScaled ? S::kGroup : padded),
        groups(padded / group),
        rows(group / S::kPair),
        group_bytes(kScaleBytes + rows * kCacheTile * S::kCodeBytes),
        tile_bytes(groups * group_bytes) {}

  int64_t group;        // dimensions
  int64_t groups;       // of a head
  int64_t rows;         // rows of a group's keys; codes in a row of its values
  int64_t group_bytes;  // of 16 positions
  int64_t tile_bytes;
};

template <class S>
int64_t Padded(int64_t head_dim) {
  constexpr int64_t kUnit = S::kGroup > 0 ? S::kGroup : 16;
  return (head_dim + kUnit - 1) / kUnit * kUnit;
}

template <class S>
int64_t TileBytes(int64_t padded) {
  return Layout<S>(padded).tile_bytes;
}

// One group of a key or value: codes `step` bytes apart from `codes` on, the scale at `scale`.
template <class S>
HWY_INLINE void StoreOne(const Grid& grid, const float* x, int64_t rows, uint8_t* scale,
                         uint8_t* codes, int64_t step) {
  if constexpr (S::kGroup > 0) {
    uint8_t packed[S::kGroup];
    StoreLe(scale, ToHalf(S::StoreGroup(grid, x, packed)));
    for (int64_t r = 0; r < rows; ++r) codes[r * step] = packed[r];
  } else {
    for (int64_t r = 0; r < rows; ++r) S::StoreNumber(x[r], codes + r * step);
  }
}

template <class S>
void Store(const Grid& grid, const float* key, const float* value, int64_t head_dim, int64_t place,
           uint8_t* keys, uint8_t* values) {
  const Layout<S> layout(Padded<S>(head_dim));
  constexpr int64_t kBytes = S::kCodeBytes, kScales = Layout<S>::kScaleBytes;
  for (int64_t g = 0; g < layout.groups; ++g) {
    const int64_t first = g * layout.group, size = std::min(layout.group, head_dim - first);
    const float *k = key + first, *v = value + first;
    float padded_key[32] = {}, padded_value[32] = {};
    if (Layout<S>::kScaled && size < layout.group) {
      std::copy_n(k, size, padded_key);
      std::copy_n(v, size, padded_value);
      k = padded_key;
      v = padded_value;
    }
    // Without scales the padding is never written: it stays the zeros of new memory.
    const int64_t rows = Layout<S>::kScaled ? layout.rows : size;
    uint8_t* kg = keys + g * layout.group_bytes;
    uint8_t* vg = values + g * layout.group_bytes;
    StoreOne<S>(grid, k, rows, kg + 2 * place, kg + kScales + place * kBytes, kCacheTile * kBytes);
    StoreOne<S>(grid, v, rows, vg + 2 * place, vg + kScales + place * layout.rows * kBytes, kBytes);
  }
}

template <class S, int Q>
HWY_INLINE void ScoresOf(const uint8_t* keys, const float* queries, int64_t padded, float scale,
                         int64_t n, float* scores) {
  // Vectors of positions that are worked on together: enough sums to hide their latency.
  constexpr int kSpan = Q == 1 ? 4 : 2;
  const Layout<S> layout(padded);
  for (int64_t p = 0; p < n; p += kSpan * kLanes) {
    const uint8_t* tiles[kSpan];
    V totals[Q][kSpan];
    for (int s = 0; s < kSpan; ++s) {
      tiles[s] = keys + (p + s * kLanes) / kCacheTile * layout.tile_bytes;
      for (int j = 0; j < Q; ++j) totals[j][s] = hn::Zero(d);
    }
    for (int64_t g = 0; g < layout.groups; ++g) {
      V sums[Q][kSpan];
      const uint8_t* codes[kSpan];
      for (int s = 0; s < kSpan; ++s) {
        codes[s] = tiles[s] + g * layout.group_bytes + Layout<S>::kScaleBytes +
                   (p + s * kLanes) % kCacheTile * S::kCodeBytes;
        for (int j = 0; j < Q; ++j) sums[j][s] = hn::Zero(d);
      }
      for (int64_t r = 0; r < layout.rows; ++r) {
        V key[kSpan][S::kPair];
        for (int s = 0; s < kSpan; ++s) S::Load(codes[s] + r * kCacheTile * S::kCodeBytes, key[s]);
        const float* q = queries + g * layout.group + r;
#pragma GCC unroll 8
        for (int j = 0; j < Q; ++j) {
          for (int h = 0; h < S::kPair; ++h) {
            const V qv = hn::Set(d, q[j * padded + h * layout.rows]);
            for (int s = 0; s < kSpan; ++s) sums[j][s] = hn::MulAdd(qv, key[s][h], sums[j][s]);
          }
        }
      }
      for (int s = 0; s < kSpan; ++s) {
        if constexpr (Layout<S>::kScaled) {
          const V steps =
              LoadHalves(tiles[s] + g * layout.group_bytes + (p + s * kLanes) % kCacheTile * 2);
          for (int j = 0; j < Q; ++j) totals[j][s] = hn::MulAdd(sums[j][s], steps, totals[j][s]);
        } else {
          for (int j = 0; j < Q; ++j) totals[j][s] = sums[j][s];
        }
      }
    }
    for (int j = 0; j < Q; ++j) {
      for (int s = 0; s < kSpan; ++s) {
        hn::StoreU(hn::Mul(totals[j][s], hn::Set(d, scale)), d,
                   scores + j * kAttentionChunk + p + s * kLanes);
      }
    }
  }
}

// scaled[j, p] = weights[j, p] * the scale of group g of position p.
template <class S, int Q>
HWY_INLINE void ScaleWeights(const Layout<S>& layout, const uint8_t* values, const float* weights,
                             int64_t g, int64_t n, float* scaled) {
  for (int64_t p = 0; p < n; p += kLanes) {
    const V steps = LoadHalves(values + p / kCacheTile * layout.tile_bytes +
                               g * layout.group_bytes + p % kCacheTile * 2);
    for (int j = 0; j < Q; ++j) {
      const V weight = hn::LoadU(d, weights + j * kAttentionChunk + p);
      hn::StoreU(hn::Mul(weight, steps), d, scaled + j * kAttentionChunk + p);
    }
  }
}

// The dimensions of L vectors of codes, from vector `load` of a head's row on.
template <class S, int Q, int L>
HWY_INLINE void GatherColumns(const Layout<S>& layout, const uint8_t* values, const float* weights,
                              const float* rescale, int64_t load, int64_t padded, int64_t n,
                              float* outs, float* scaled) {
  constexpr bool kScaled = Layout<S>::kScaled;
  constexpr int kSpread = kScaled ? std::max(1, Layout<S>::kLoads) : L;  // loads of one group
  constexpr int kGroups = (L + kSpread - 1) / kSpread;
  const int64_t first_group = kScaled ? load / kSpread : 0;
  const float* factors = weights;
  if constexpr (kScaled) {
    factors = scaled;
    for (int g = 0; g < kGroups; ++g) {
      ScaleWeights<S, Q>(layout, values, weights, first_group + g, n,
                         scaled + g * Q * kAttentionChunk);
    }
  }
  int64_t offset[L];  // of the codes in a tile
  float* out[L];      // of the first row
  V sums[Q][L][S::kPair];
  for (int l = 0; l < L; ++l) {
    const int64_t g = kScaled ? (load + l) / kSpread : 0;
    const int64_t at = (kScaled ? (load + l) % kSpread : load + l) * kLanes;
    offset[l] = g * layout.group_bytes + Layout<S>::kScaleBytes + at * S::kCodeBytes;
    out[l] = outs + g * layout.group + at;
    for (int j = 0; j < Q; ++j) {
      for (int h = 0; h < S::kPair; ++h) {
        sums[j][l][h] =
            hn::Mul(hn::LoadU(d, out[l] + j * padded + h * layout.rows), hn::Set(d, rescale[j]));
      }
    }
  }
  const int64_t row_bytes = layout.rows * S::kCodeBytes;
  for (int64_t first = 0; first < n; first += kCacheTile) {
    const uint8_t* row = values + first / kCacheTile * layout.tile_bytes;
    for (int64_t p = first; p < std::min(n, first + kCacheTile); ++p, row += row_bytes) {
      V value[L][S::kPair];
      for (int l = 0; l < L; ++l) S::Load(row + offset[l], value[l]);
#pragma GCC unroll 8
      for (int j = 0; j < Q; ++j) {
        V factor[kGroups];
        for (int g = 0; g < kGroups; ++g) {
          factor[g] = hn::Set(d, factors[(g * Q + j) * kAttentionChunk + p]);
        }
        for (int l = 0; l < L; ++l) {
          for (int h = 0; h < S::kPair; ++h) {
            sums[j][l][h] = hn::MulAdd(factor[l / kSpread], value[l][h], sums[j][l][h]);
          }
        }
      }
    }
  }
  for (int l = 0; l < L; ++l) {
    for (int j = 0; j < Q; ++j) {
      for (int h = 0; h < S::kPair; ++h) {
        hn::StoreU(sums[j][l][h], d, out[l] + j * padded + h * layout.rows);
      }
    }
  }
}

template <class S, int Q>
HWY_INLINE void GatherOf(const uint8_t* values, const float* weights, const float* rescale,
                         int64_t padded, int64_t n, float* outs, float* scaled) {
  constexpr int kMost = std::max(1, kAccumulators / (Q * S::kPair));
  // Scratch holds the weights of two groups.
  constexpr int kLimit = Layout<S>::kScaled ? std::min(kMost, 2 * Layout<S>::kLoads) : kMost;
  const Layout<S> layout(padded);
  const int64_t loads = padded / S::kPair / kLanes;
  int64_t load = 0;
  const auto run = [&]<int L>() HWY_ATTR {
    if constexpr (L <= kLimit) {
      for (; load + L <= loads; load += L) {
        GatherColumns<S, Q, L>(layout, values, weights, rescale, load, padded, n, outs, scaled);
      }
    }
  };
  run.template operator()<8>();
  run.template operator()<4>();
  run.template operator()<2>();
  run.template operator()<1>();
}

// Calls function.operator()<count>().
template <class Function>
HWY_INLINE void WithCount(int64_t count, Function&& function) {
  static_assert(kRowsAtOnce == 4);
  if (count == 1) return function.template operator()<1>();
  if (count == 2) return function.template operator()<2>();
  if (count == 3) return function.template operator()<3>();
  function.template operator()<4>();
}

template <class S>
void AllScores(const uint8_t* keys, const float* queries, int64_t count, int64_t padded,
               float scale, int64_t n, float* scores) {
  WithCount(count,
            [&]<int Q>() HWY_ATTR { ScoresOf<S, Q>(keys, queries, padded, scale, n, scores); });
}

template <class S>
void GatherAll(const uint8_t* values, const float* weights, const float* rescale, int64_t count,
               int64_t padded, int64_t n, float* outs, float* scaled) {
  WithCount(count, [&]<int Q>() HWY_ATTR {
    GatherOf<S, Q>(values, weights, rescale, padded, n, outs, scaled);
  });
}

template <class S>
constexpr CacheStorage StorageOf() {
  return {&S::Holds, &Padded<S>, &TileBytes<S>, &Store<S>, &AllScores<S>, &GatherAll<S>};
}

// Whether the grid is made of blocks of 32 with one f16 scale and levels first .. first + 2^bits,
// but for the lowest where there are 8 bits.
inline bool IsSymmetric32(const Grid& grid, int bits, int first) {
  const ScalarGrid* s = grid.scalar;
  return grid.grouped == nullptr && grid.block == 32 && grid.affine.bits == bits &&
         grid.affine.symmetric && grid.affine.group == 32 && grid.writable() && s != nullptr &&
         s->unpack != nullptr && s->levels.empty() && s->first == first &&
         s->step == StepKind::kOwn && s->shift == ShiftKind::kNone && s->unit == Real::kF16;
}

// Rounds 32 numbers as the grid does. Returns the scale, and codes counted from the lowest level.
inline float RoundGroup(const Grid& grid, const float* x, uint8_t* codes) {
  uint8_t block[64];
  BlockParameters parameters;
  grid.Encode(x, 32, nullptr, block);
  grid.scalar->unpack(grid, block, parameters, codes);
  float zero = 0;  // NaN where a number is not finite
  for (int e = 0; e < 32; ++e) zero += x[e] * 0.0f;
  return parameters.unit + zero;
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // include guard
