#include "grid/codebook_search.h"

#include <cmath>

// Compiled once for each instruction set by Highway's foreach_target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grid/codebook_search.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kTries = 16;
constexpr float kSmallest = 1e-15f;  // groups with no larger |x| are zero

using D = hn::CappedTag<float, kTries>;
using V = hn::Vec<D>;

HWY_INLINE V Set(float x) { return hn::Set(D(), x); }

// The level nearest to each x.
HWY_INLINE V Nearest(const Levels16& levels, V x) {
  V q = Set(levels.level[0]);
#pragma GCC unroll 15
  for (int i = 0; i < 15; ++i) {
    q = hn::Add(q, hn::IfThenZeroElse(hn::Lt(x, Set(levels.midpoint[i])), Set(levels.step[i])));
  }
  return q;
}

// The weighted sums of a group for each of 16 inverse scales:
//   qx = sum w * level * x, qq = sum w * level^2.
HWY_INLINE void TryScales(const Levels16& levels, const float* HWY_RESTRICT x,
                          const float* HWY_RESTRICT w, const float* HWY_RESTRICT inverses,
                          float* HWY_RESTRICT qx, float* HWY_RESTRICT qq) {
  const D d;
  for (int t = 0; t < kTries; t += static_cast<int>(hn::Lanes(d))) {
    const V inverse = hn::Load(d, inverses + t);
    V sum_qx = hn::Zero(d), sum_qq = hn::Zero(d);
    for (int i = 0; i < kCodebookGroup; ++i) {
      const V q = Nearest(levels, hn::Mul(inverse, Set(x[i])));
      const V wq = hn::Mul(Set(w[i]), q);
      sum_qx = hn::Add(sum_qx, hn::Mul(wq, Set(x[i])));
      sum_qq = hn::Add(sum_qq, hn::Mul(wq, q));
    }
    hn::Store(sum_qx, d, qx + t);
    hn::Store(sum_qq, d, qq + t);
  }
}

// The first x of largest magnitude.
HWY_INLINE float FirstLargest(const float* x) {
  float largest = 0;
  for (int i = 0; i < kCodebookGroup; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

float FitGroup(const Levels16& levels, const float* x, const float* w) {
  const float largest = FirstLargest(x);
  if (!(std::fabs(largest) >= kSmallest)) return 0;
  // The largest weight onto the lowest level with the scale's sign turned, then seven steps to
  // either side of the lowest level itself.
  HWY_ALIGN float inverses[kTries];
  inverses[0] = 1 / (-largest / levels.level[0]);
  for (int t = 1; t < kTries; ++t) {
    inverses[t] = (static_cast<float>(t - 8) + levels.level[0]) / largest;
  }
  HWY_ALIGN float qx[kTries], qq[kTries];
  TryScales(levels, x, w, inverses, qx, qq);
  float scale = qq[0] > 0 ? qx[0] / qq[0] : 0.0f;
  float best = scale * qx[0];
  for (int t = 1; t < kTries; ++t) {
    if (qq[t] > 0 && qx[t] * qx[t] > best * qq[t]) {
      scale = qx[t] / qq[t];
      best = scale * qx[t];
    }
  }
  return scale;
}

void FitCodebook(const Levels16& levels, const float* x, const float* importance,
                 const float* variance, int count, float* scales) {
  const D d;
  for (int g = 0; g < count; ++g, x += kCodebookGroup) {
    HWY_ALIGN float w[kCodebookGroup];
    for (int i = 0; i < kCodebookGroup; i += static_cast<int>(hn::Lanes(d))) {
      const V xi = hn::LoadU(d, x + i);
      V wi = hn::Mul(xi, xi);
      if (importance != nullptr) {
        wi = hn::Mul(hn::LoadU(d, importance + g * kCodebookGroup + i),
                     hn::Sqrt(hn::Add(Set(variance[g]), wi)));
      }
      hn::Store(wi, d, w + i);
    }
    scales[g] = FitGroup(levels, x, w);
  }
}

void RoundToCodebook(const Levels16& levels, const float* x, const float* inverse, int count,
                     uint8_t* codes) {
  const D d;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint8_t, D> d8;
  for (int i = 0; i < count * kCodebookGroup; i += static_cast<int>(hn::Lanes(d))) {
    const V at = hn::Mul(Set(inverse[i / kCodebookGroup]), hn::LoadU(d, x + i));
    V code = Set(15);
#pragma GCC unroll 15
    for (int k = 0; k < 15; ++k) {
      code = hn::Sub(code, hn::IfThenElseZero(hn::Lt(at, Set(levels.midpoint[k])), Set(1)));
    }
    hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(di, code)), d8, codes + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(FitCodebook);
HWY_EXPORT(RoundToCodebook);

void FitCodebook(const Levels16& levels, const float* x, const float* importance,
                 const float* variance, int count, float* scales) {
  HWY_DYNAMIC_DISPATCH(FitCodebook)(levels, x, importance, variance, count, scales);
}

void RoundToCodebook(const Levels16& levels, const float* x, const float* inverse, int count,
                     uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(RoundToCodebook)(levels, x, inverse, count, codes);
}

}  // namespace halftone
#endif  // HWY_ONCE
