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

// Stores whole numbers as bytes; returns their sum.
HWY_INLINE VI StoreCodes(V whole, int8_t* codes) {
  const VI code = hn::ConvertTo(di, whole);
  hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, DI>(), code), hn::Rebind<int8_t, DI>(), codes);
  return code;
}

// 32 columns to group g of a block; refined where a magnitude is above `limit`.
HWY_INLINE void RoundGroup(const float* x, int g, float limit, RoundedBlock& block) {
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
  const bool refined = inverse > 0 && largest > limit;
  int8_t *codes = block.codes + 32 * g, *fine = block.fine + 32 * g;
  for (int half = 0; half < 2; ++half) {
    VI sums = hn::Zero(di), fine_sums = hn::Zero(di);
    for (int i = 16 * half; i < 16 * half + 16; i += kLanes) {
      const V scaled = hn::Mul(finite ? hn::LoadU(d, x + i) : hn::Zero(d), factor);
      const V whole = Nearest(scaled);
      sums = hn::Add(sums, StoreCodes(whole, codes + i));
      if (refined) {
        const V rest = Nearest(hn::Mul(hn::Sub(scaled, whole), hn::Set(d, 256.0f)));
        fine_sums = hn::Add(fine_sums, StoreCodes(hn::Min(rest, hn::Set(d, 127.0f)), fine + i));
      }
    }
    block.total16[2 * g + half] = hn::GetLane(hn::SumOfLanes(di, sums));
    block.fine_total16[2 * g + half] = hn::GetLane(hn::SumOfLanes(di, fine_sums));
  }
  if (!refined) std::fill_n(fine, 32, int8_t{0});
  block.refined |= static_cast<uint32_t>(refined) << g;
  block.scale[g] = scale;
  block.fine_scale[g] = scale / 256;
  block.total[g] = block.total16[2 * g] + block.total16[2 * g + 1];
  block.fine_total[g] = block.fine_total16[2 * g] + block.fine_total16[2 * g + 1];
  const auto sum = [&](int32_t total, int32_t fine_total) {
    return block.fine_scale[g] * static_cast<float>(256 * total + fine_total);
  };
  for (int i = 2 * g; i < 2 * g + 2; ++i) {
    block.sum16[i] = sum(block.total16[i], block.fine_total16[i]);
  }
  block.sum[g] = sum(block.total[g], block.fine_total[g]);
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
  const float limit = kRefined * RootMeanSquare(x, cols);
  for (int64_t c = 0; c < cols; c += kRoundedColumns, blocks += stride) {
    blocks->refined = 0;
    for (int g = 0; g < 8; ++g) {
      const int64_t at = c + 32 * g, left = std::min<int64_t>(cols - at, 32);
      if (left == 32) {
        RoundGroup(x + at, g, limit, *blocks);
      } else {
        float padded[32] = {};
        if (left > 0) std::copy_n(x + at, left, padded);
        RoundGroup(padded, g, limit, *blocks);
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
