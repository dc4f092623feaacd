// Compiled once for each instruction set by Highway's foreach_target.

#include "kernel/cpu/attention.h"

#include <algorithm>
#include <cmath>

// The three sets of kernel/cpu/isa.h and no more: each costs compile time.
#define HWY_COMPILE_ALL_ATTAINABLE
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/cpu/attention.cc"
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
#include "kernel/cpu/cache/eight_bits-inl.h"
#include "kernel/cpu/cache/f16-inl.h"
#include "kernel/cpu/cache/f32-inl.h"
#include "kernel/cpu/cache/four_bits-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

// The row's scores that count are [from, to); the others of `n` become zeros.
struct Valid {
  int64_t from, to;
};

HWY_INLINE void Cap(float* scores, int64_t n, float softcap) {
  const V caps = hn::Set(d, softcap);
  for (int64_t i = 0; i < n; i += kLanes) {
    const V v = hn::Div(hn::LoadU(d, scores + i), caps);
    // Highway's functions need not keep what is no number.
    const V capped = hn::MulAdd(v, hn::Zero(d), hn::Tanh(d, v));
    hn::StoreU(hn::Mul(caps, capped), d, scores + i);
  }
}

// Turns valid scores into exp(score - largest), the rest of `n` into zeros; `largest` and `sum`
// carry the row's running maximum and sum of weights. Returns what earlier sums must be scaled by.
// A score that is not finite makes the sum NaN, and with it the row: else it would have no weight,
// since Highway's exponential and maximum need not keep NaN.
HWY_INLINE float Weigh(float* scores, const Valid& valid, int64_t n, float softcap, float& largest,
                       float& sum) {
  if (valid.to <= valid.from) {
    std::fill(scores, scores + n, 0.0f);
    return 1.0f;
  }
  // Small enough that its exponential is zero; padding up to whole vectors lies within the chunk.
  const int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  if (softcap != 0) Cap(scores, padded, softcap);
  std::fill(scores, scores + valid.from, -1e30f);
  std::fill(scores + valid.to, scores + padded, -1e30f);
  V top = hn::Set(d, largest);
  for (int64_t i = 0; i < padded; i += kLanes) top = hn::Max(top, hn::LoadU(d, scores + i));
  const float now = hn::GetLane(hn::MaxOfLanes(d, top));
  const V shift = hn::Set(d, now);
  V sums = hn::Zero(d);
  for (int64_t i = 0; i < padded; i += kLanes) {
    const V score = hn::LoadU(d, scores + i);
    const V e = hn::Exp(d, hn::Sub(score, shift));
    sums = hn::MulAdd(score, hn::Zero(d), hn::Add(sums, e));
    hn::StoreU(e, d, scores + i);
  }
  const float rescale = std::exp(largest - now);
  sum = sum * rescale + hn::GetLane(hn::SumOfLanes(d, sums));
  largest = now;
  return rescale;
}

void AttendSome(const HeadCache& cache, const Query* queries, int64_t count, int64_t head_dim,
                float scale, float softcap, float* scratch) {
  const CacheStorage& storage = *cache.storage;
  const int64_t padded = storage.padded(head_dim), tile_bytes = storage.tile_bytes(padded);
  float* scores = scratch;
  float* scaled = scores + kRowsAtOnce * kAttentionChunk;
  float* rows = scaled + 2 * kRowsAtOnce * kAttentionChunk;
  float* outs = rows + kRowsAtOnce * padded;
  std::fill(rows, outs + count * padded, 0.0f);
  float largest[kRowsAtOnce], sum[kRowsAtOnce] = {}, rescale[kRowsAtOnce];
  std::fill(largest, largest + kRowsAtOnce, -1e30f);
  int64_t positions = 0, first = queries[0].first;
  for (int64_t j = 0; j < count; ++j) {
    std::copy_n(queries[j].q, head_dim, rows + j * padded);
    positions = std::max(positions, queries[j].limit);
    first = std::min(first, queries[j].first);
  }
  for (int64_t begin = first / kAttentionChunk * kAttentionChunk; begin < positions;
       begin += kAttentionChunk) {
    const int64_t n = std::min(kAttentionChunk, positions - begin);
    const int64_t at = begin / kCacheTile * tile_bytes;
    storage.scores(cache.keys + at, rows, count, padded, scale, n, scores);
    for (int64_t j = 0; j < count; ++j) {
      const Valid valid{std::clamp<int64_t>(queries[j].first - begin, 0, n),
                        std::min(n, queries[j].limit - begin)};
      rescale[j] = Weigh(scores + j * kAttentionChunk, valid, n, softcap, largest[j], sum[j]);
    }
    storage.gather(cache.values + at, scores, rescale, count, padded, n, outs, scaled);
  }
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < head_dim; ++i) queries[j].out[i] = outs[j * padded + i] / sum[j];
  }
}

void Attend(const HeadCache& cache, const Query* queries, int64_t count, int64_t head_dim,
            float scale, float softcap, float* scratch) {
  for (int64_t j = 0; j < count; j += kRowsAtOnce) {
    AttendSome(cache, queries + j, std::min(kRowsAtOnce, count - j), head_dim, scale, softcap,
               scratch);
  }
}

extern const AttentionOps kAttentionOps;
constexpr AttentionOps kAttentionOps = {
    &Attend,
    {StorageOf<CacheF32>(), StorageOf<CacheF16>(), StorageOf<CacheEightBits>(),
     StorageOf<CacheFourBits>()},
};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

const AttentionOps& AttentionOpsFor(Isa isa) {
  switch (isa) {
#if HWY_TARGETS & HWY_AVX3
    case Isa::kAvx512:
      return N_AVX3::kAttentionOps;
#endif
#if HWY_TARGETS & HWY_AVX2
    case Isa::kAvx2:
      return N_AVX2::kAttentionOps;
#endif
    default:
      return HWY_STATIC_DISPATCH(kAttentionOps);
  }
}

const CacheStorage* AttentionOps::StorageFor(const Grid& grid) const {
  for (const CacheStorage& storage : storages) {
    if (storage.holds(grid)) return &storage;
  }
  return nullptr;
}

}  // namespace halftone
#endif
