// Lane arithmetic that scale_search.cc and scale_search_single.cc share, compiled for each
// instruction set by Highway's foreach_target.

#if defined(HALFTONE_GRID_SCALE_SEARCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_GRID_SCALE_SEARCH_INL_H_
#undef HALFTONE_GRID_SCALE_SEARCH_INL_H_
#else
#define HALFTONE_GRID_SCALE_SEARCH_INL_H_
#endif

#include "grid/scale_search.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kSearchLanes>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

constexpr int kMaxValues = kSearchMaxGroup * kSearchLanes;
constexpr float kSmallest = 1e-15f;  // groups with no larger |x| are zero
constexpr float kShift = 12582912.0f;

HWY_INLINE V Set(float x) { return hn::Set(D(), x); }

// The nearest integer to |x| <= 2^22, as a float.
HWY_INLINE V Nearest(V x) { return hn::Sub(hn::Add(x, Set(kShift)), Set(kShift)); }

// NearestInt of every lane, wrapping as it does, then clamped.
HWY_INLINE hn::Vec<DI> NearestWrapped(V x, int low, int high) {
  const DI di;
  const auto bits = hn::BitCast(di, hn::Add(x, Set(kShift)));
  const auto nearest = hn::Sub(hn::And(bits, hn::Set(di, 0x007FFFFF)), hn::Set(di, 0x00400000));
  return hn::Min(hn::Max(nearest, hn::Set(di, low)), hn::Set(di, high));
}

HWY_INLINE V Clamp(V x, V low, V high) { return hn::Min(hn::Max(x, low), high); }

// An inverse scale that overflowed makes every code 0 in ggml: infinity and NaN wrap to integers
// below any level.
HWY_INLINE V FiniteOrZero(V inverse) {
  return hn::IfThenElseZero(hn::Le(hn::Abs(inverse), Set(3.40282347e38f)), inverse);
}

// Numerators of the inverse scales that FitSymmetric tries: the plain one first.
constexpr int kSymmetricTries = 19;
HWY_INLINE float SymmetricNumerator(int levels, int attempt) {
  if (attempt == 0) return -static_cast<float>(levels);
  const int is = attempt <= 9 ? attempt - 10 : attempt - 9;
  return -(static_cast<float>(levels) + 0.1f * static_cast<float>(is));
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // HALFTONE_GRID_SCALE_SEARCH_INL_H_
