// Compiled once for each instruction set by Highway's foreach_target.

#include "kernel/cpu/rounded.h"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__) && __has_include("kernel/cpu/fast/panel.h")
#include "kernel/cpu/fast/panel.h"
#endif

// As in vector_ops.cc.
#define HWY_COMPILE_ALL_ATTAINABLE
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/cpu/rounded.cc"
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr D d;
constexpr DI di;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
static_assert(16 % kLanes == 0);

// The nearest integer of numbers below 2^22, ties to even: it is what the last places of 1.5 * 2^23
// and more count.
HWY_INLINE V Nearest(V x) {
  return hn::Sub(hn::Add(x, hn::Set(d, 0x1.8p23f)), hn::Set(d, 0x1.8p23f));
}

// The largest magnitude of 32 columns; NaN where one is.
HWY_INLINE float Largest(const float* x) {
  // Bits of magnitudes ascend with them, infinity and NaN on top.
  VI top = hn::Zero(di);
  for (int i = 0; i < 32; i += kLanes) {
    top = hn::Max(top, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
  }
  return hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(di, top)));
}

HWY_INLINE void StoreBytes(VI numbers, int8_t* bytes) {
  hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, DI>(), numbers), hn::Rebind<int8_t, DI>(), bytes);
}

// Group g of the block; x: its 32 columns.
template <bool kLargeGroup>
HWY_INLINE void RoundGroup(const float* x, int g, float inverse, RoundedBlock& block) {
  const V factor = hn::Set(d, inverse);
  int8_t *codes = block.codes + 32 * g, *high = block.high + 32 * g;
  for (int half = 0; half < 2; ++half) {
    VI total = hn::Zero(di);
    for (int i = 16 * half; i < 16 * half + 16; i += kLanes) {
      const VI q = hn::ConvertTo(di, Nearest(hn::Mul(hn::LoadU(d, x + i), factor)));
      total = hn::Add(total, q);
      if constexpr (kLargeGroup) {
        const VI h = hn::ShiftRight<7>(hn::Add(q, hn::Set(di, 64)));
        StoreBytes(h, high + i);
        StoreBytes(hn::Sub(q, hn::ShiftLeft<7>(h)), codes + i);
      } else {
        StoreBytes(q, codes + i);
      }
    }
    block.total16[2 * g + half] = hn::GetLane(hn::SumOfLanes(di, total));
  }
}

// 256 columns; large are the groups with a magnitude above `limit`, or with one far above others'.
void RoundBlock(const float* x, float limit, RoundedBlock& block) {
  float largest[8], ascending[8];
  for (int g = 0; g < 8; ++g) largest[g] = Largest(x + 32 * g);
  std::copy_n(largest, 8, ascending);
  std::sort(ascending, ascending + 8);
  if (ascending[3] > 0) limit = std::min(limit, kLargeBeside * ascending[3]);
  float ordinary = 0;
  uint32_t large = 0;
  for (int g = 0; g < 8; ++g) {
    if (largest[g] > limit) {
      large |= 1u << g;
    } else {
      ordinary = std::max(ordinary, largest[g]);
    }
  }
  const float scale = std::max(ordinary / 127, ascending[7] / 16256);
  // Where the reciprocal is beyond f32's range the block is as good as zero.
  const float inverse = scale > 1e-38f ? 1 / scale : 0;
  block.scale = scale;
  block.large = large;
  for (int g = 0; g < 8; ++g) {
    if ((large >> g & 1) != 0) {
      RoundGroup<true>(x + 32 * g, g, inverse, block);
    } else {
      RoundGroup<false>(x + 32 * g, g, inverse, block);
      std::fill_n(block.high + 32 * g, 32, int8_t{0});
    }
    block.total[g] = block.total16[2 * g] + block.total16[2 * g + 1];
  }
  for (int g = 0; g < 8; ++g) block.sum[g] = scale * static_cast<float>(block.total[g]);
  for (int g = 0; g < 16; ++g) block.sum16[g] = scale * static_cast<float>(block.total16[g]);
}

float RootMeanSquare(const float* x, int64_t cols) {
  V squares = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) {
    const V v = hn::LoadU(d, x + i);
    squares = hn::MulAdd(v, v, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < cols; ++i) sum += x[i] * x[i];
  return std::sqrt(sum / static_cast<float>(cols));
}

void Round(const float* x, int64_t cols, RoundedBlock* blocks, int64_t stride) {
  const float rms = RootMeanSquare(x, cols);
  const bool finite = rms <= hwy::HighestValue<float>() ||
                      std::all_of(x, x + cols, [](float v) { return std::isfinite(v); });
  for (int64_t c = 0; c < cols; c += kRoundedColumns, blocks += stride) {
    const int64_t left = std::min(cols - c, kRoundedColumns);
    if (finite && left == kRoundedColumns) {
      RoundBlock(x + c, kLarge * rms, *blocks);
      continue;
    }
    float padded[kRoundedColumns] = {};
    if (finite) std::copy_n(x + c, left, padded);
    RoundBlock(padded, kLarge * rms, *blocks);
    // Whatever a row holds, nothing finite may come of it.
    if (!finite) blocks->scale = NAN;
  }
}

extern decltype(&Round) const kRound;
decltype(&Round) const kRound = &Round;

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

bool HasRoundedOps([[maybe_unused]] Isa isa) {
#if defined(HT_PANEL)
  return isa == Isa::kAvx2 || (isa == Isa::kAvx512 && __builtin_cpu_supports("avx512vnni"));
#else
  return false;
#endif
}

const RoundedOps& RoundedOpsFor(Isa isa) {
#if defined(HT_PANEL)
  static const RoundedOps vnni = {N_AVX3::kRound, &MultiplyVnni};
  static const RoundedOps avx2 = {N_AVX2::kRound, &MultiplyAvx2};
  return isa == Isa::kAvx512 ? vnni : avx2;
#else
  static const RoundedOps none = {HWY_STATIC_DISPATCH(kRound), nullptr};
  return none;
#endif
}

}  // namespace halftone
#endif
