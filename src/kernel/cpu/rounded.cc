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

// 32 columns to group g of a block.
HWY_INLINE void RoundGroup(const float* x, int g, RoundedBlock& block) {
  // Bits of magnitudes ascend with them, infinity and NaN on top.
  VI top = hn::Zero(di);
  for (int i = 0; i < 32; i += kLanes) {
    top = hn::Max(top, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
  }
  const float largest = hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(di, top)));
  const bool finite = largest <= hwy::HighestValue<float>();
  const float scale = finite ? largest / 127.0f : NAN;
  // Where the reciprocal is beyond f32's range the group is as good as zero.
  const float inverse = finite && largest > 1e-36f ? 127.0f / largest : 0.0f;
  const V factor = hn::Set(d, inverse);
  int32_t total = 0;
  for (int half = 0; half < 2; ++half) {
    VI sums = hn::Zero(di);
    for (int i = 16 * half; i < 16 * half + 16; i += kLanes) {
      const V v = finite ? hn::LoadU(d, x + i) : hn::Zero(d);
      // The nearest integer, ties to even, is what the last places of 1.5 * 2^23 and more count.
      const V shifted = hn::Add(hn::Mul(v, factor), hn::Set(d, 0x1.8p23f));
      const VI code = hn::Sub(hn::BitCast(di, shifted), hn::Set(di, 0x4B400000));
      sums = hn::Add(sums, code);
      hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, DI>(), code), hn::Rebind<int8_t, DI>(),
                 block.codes + 32 * g + i);
    }
    const int32_t sum = hn::GetLane(hn::SumOfLanes(di, sums));
    block.total16[2 * g + half] = sum;
    block.sum16[2 * g + half] = scale * static_cast<float>(sum);
    total += sum;
  }
  block.scale[g] = scale;
  block.total[g] = total;
  block.sum[g] = scale * static_cast<float>(total);
}

void Round(const float* x, int64_t cols, RoundedBlock* blocks, int64_t stride) {
  for (int64_t c = 0; c < cols; c += kRoundedColumns, blocks += stride) {
    for (int g = 0; g < 8; ++g) {
      const int64_t at = c + 32 * g, left = std::min<int64_t>(cols - at, 32);
      if (left == 32) {
        RoundGroup(x + at, g, *blocks);
      } else {
        float padded[32] = {};
        if (left > 0) std::copy_n(x + at, left, padded);
        RoundGroup(padded, g, *blocks);
      }
    }
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
