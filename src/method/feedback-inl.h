// The choice of one group's step and shift, for a strip of rows, compiled for each instruction set
// by Highway's foreach_target.

#if defined(HALFTONE_METHOD_FEEDBACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_METHOD_FEEDBACK_INL_H_
#undef HALFTONE_METHOD_FEEDBACK_INL_H_
#else
#define HALFTONE_METHOD_FEEDBACK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/half.h"
#include "grid/grouped.h"
#include "grid/scalar.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kStrip = 16;  // rows of a strip, at most
using D = hn::CappedTag<float, kStrip>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

HWY_INLINE V Set(float x) { return hn::Set(D(), x); }
HWY_INLINE V Zero() { return hn::Zero(D()); }
HWY_INLINE V Load(const float* p) { return hn::Load(D(), p); }
HWY_INLINE void Store(V v, float* p) { hn::Store(v, D(), p); }
HWY_INLINE int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(D())); }
HWY_INLINE V Clamp(V x, float low, float high) { return hn::Min(hn::Max(x, Set(low)), Set(high)); }

// The nearest integer to |x| <= 2^22, as a float.
HWY_INLINE V Nearest(V x) {
  const V shift = Set(12582912.0f);
  return hn::Sub(hn::Add(x, shift), shift);
}

// a / b, and 0 where b is 0 or the quotient is not finite.
HWY_INLINE V Divide(V a, V b) {
  const V q = hn::Div(a, b);
  return hn::IfThenElseZero(hn::Le(hn::Abs(q), Set(std::numeric_limits<float>::max())), q);
}

// As the grid stores it.
HWY_INLINE V Stored(Real real, V v) {
  HWY_ALIGN float lanes[kStrip];
  Store(
      Clamp(v, real == Real::kF16 ? -65504.0f : -3.0e38f, real == Real::kF16 ? 65504.0f : 3.0e38f),
      lanes);
  for (int64_t i = 0; i < Lanes(); ++i) lanes[i] = RoundToReal(real, lanes[i]);
  return Load(lanes);
}

// Step and shift of a group: weight = step * level + shift.
struct Affinity {
  V step, shift;
};

// A value on the grid, and its code as a float.
struct Rounded {
  V value, code;
};

// Rounds to the levels of one grid.
class Levels {
 public:
  explicit Levels(const ScalarGrid& grid) : grid_(grid) {}

  HWY_INLINE Rounded Round(V target, const Affinity& a, V inverse) const {
    const V x = hn::Mul(hn::Sub(target, a.shift), inverse);
    Rounded r;
    V level;
    if (grid_.levels.empty()) {
      const float first = static_cast<float>(grid_.first);
      level = Clamp(Nearest(x), first, first + static_cast<float>(grid_.count - 1));
      r.code = hn::Sub(level, Set(first));
    } else if (grid_.count <= 16) {
      level = Set(grid_.levels[0]);
      r.code = Zero();
      for (int k = 1; k < grid_.count; ++k) {
        const M above = hn::Gt(x, Set(0.5f * (grid_.levels[k - 1] + grid_.levels[k])));
        level = hn::IfThenElse(above, Set(grid_.levels[k]), level);
        r.code = hn::IfThenElse(above, Set(static_cast<float>(k)), r.code);
      }
    } else {
      LookUp(x, level, r.code);
    }
    r.value = hn::MulAdd(a.step, level, a.shift);
    return r;
  }

  HWY_INLINE V LevelOf(V code) const {
    if (grid_.levels.empty()) return hn::Add(code, Set(static_cast<float>(grid_.first)));
    HWY_ALIGN float lanes[kStrip];
    Store(code, lanes);
    for (int64_t i = 0; i < Lanes(); ++i) lanes[i] = grid_.levels[static_cast<size_t>(lanes[i])];
    return Load(lanes);
  }

 private:
  void LookUp(V x, V& level, V& code) const {
    HWY_ALIGN float lanes[kStrip];
    HWY_ALIGN float codes[kStrip];
    Store(x, lanes);
    for (int64_t i = 0; i < Lanes(); ++i) {
      const auto above = std::lower_bound(grid_.levels.begin(), grid_.levels.end(), lanes[i]);
      auto k = static_cast<size_t>(above - grid_.levels.begin());
      if (k == grid_.levels.size() ||
          (k > 0 && lanes[i] - grid_.levels[k - 1] <= grid_.levels[k] - lanes[i])) {
        --k;
      }
      codes[i] = static_cast<float>(k);
      lanes[i] = grid_.levels[k];
    }
    level = Load(lanes);
    code = Load(codes);
  }

  const ScalarGrid& grid_;
};

// The targets of one group, [size] vectors, and what the error of each column costs.
struct GroupTargets {
  const float* targets;  // [size * lanes]
  const float* costs;    // [size]
  int size;
};

// Fits without feedback: tries scales of the codes and takes the cost-weighted least-squares step
// (and shift) for each.
class Fitter {
 public:
  Fitter(const ScalarGrid& grid, const Levels& levels) : grid_(grid), levels_(levels) {}

  Affinity Fit(const GroupTargets& t) const {
    return grid_.shift == ShiftKind::kNone ? FitStep(t) : FitBoth(t);
  }

 private:
  Affinity FitStep(const GroupTargets& t) const {
    V largest = Zero();
    for (int j = 0; j < t.size; ++j) {
      const V x = Load(t.targets + j * Lanes());
      largest = hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Abs(largest)), x, largest);
    }
    const bool positive = !grid_.signed_unit && grid_.scale_low >= 0;
    if (positive) largest = hn::Abs(largest);
    const float end = positive ? grid_.HighestLevel() : -grid_.LowestLevel();
    V best = Zero(), step = Zero();  // best: what the error falls by
    for (int k = -9; k <= 9; ++k) {
      for (int sign = -1; sign <= (positive ? -1 : 1); sign += 2) {
        const float reach = end * (1 + 0.0125f * static_cast<float>(k) * (end <= 8 ? 1.0f : 0.5f));
        const V trial = Divide(largest, Set(positive ? reach : static_cast<float>(sign) * reach));
        const V inverse = Divide(Set(1), trial);
        V sum_xl = Zero(), sum_ll = Zero();
        for (int j = 0; j < t.size; ++j) {
          const V x = Load(t.targets + j * Lanes());
          const V level = levels_.LevelOf(levels_.Round(x, {trial, Zero()}, inverse).code);
          const V cost = hn::Mul(Set(t.costs[j]), level);
          sum_xl = hn::MulAdd(cost, x, sum_xl);
          sum_ll = hn::MulAdd(cost, level, sum_ll);
        }
        const V fitted = Divide(sum_xl, sum_ll);
        const V gain = hn::Mul(fitted, sum_xl);
        const M better = hn::Gt(gain, best);
        best = hn::IfThenElse(better, gain, best);
        step = hn::IfThenElse(better, fitted, step);
      }
    }
    return {step, Zero()};
  }

  Affinity FitBoth(const GroupTargets& t) const {
    V low = Load(t.targets), high = low;
    for (int j = 1; j < t.size; ++j) {
      const V x = Load(t.targets + j * Lanes());
      low = hn::Min(low, x);
      high = hn::Max(high, x);
    }
    // These shifts cannot lift all weights above zero.
    const bool from_zero = grid_.shift != ShiftKind::kOwn;
    if (from_zero) low = hn::Min(low, Zero());
    const V range = hn::Sub(high, low);
    const float top = static_cast<float>(grid_.count - 1);
    V best = Set(std::numeric_limits<float>::infinity()), step = Zero(), shift = low;
    for (int k = -12; k <= 24; ++k) {
      const float reach = top + static_cast<float>(k) * (grid_.count <= 8 ? 0.03f : 0.06f);
      const V inverse = Divide(Set(reach), range);
      V w = Zero(), x1 = Zero(), l1 = Zero(), ll = Zero(), xl = Zero(), xx = Zero();
      for (int j = 0; j < t.size; ++j) {
        const V x = Load(t.targets + j * Lanes());
        const V level = Clamp(Nearest(hn::Mul(hn::Sub(x, low), inverse)), 0.0f, top);
        const V cost = Set(t.costs[j]);
        const V cl = hn::Mul(cost, level), cx = hn::Mul(cost, x);
        w = hn::Add(w, cost);
        x1 = hn::Add(x1, cx);
        l1 = hn::Add(l1, cl);
        ll = hn::MulAdd(cl, level, ll);
        xl = hn::MulAdd(cl, x, xl);
        xx = hn::MulAdd(cx, x, xx);
      }
      const V determinant = hn::Sub(hn::Mul(w, ll), hn::Mul(l1, l1));
      V a = Divide(hn::Sub(hn::Mul(w, xl), hn::Mul(x1, l1)), determinant);
      V b = Divide(hn::Sub(hn::Mul(ll, x1), hn::Mul(l1, xl)), determinant);
      if (from_zero) {
        const M above = hn::Gt(b, Zero());
        a = hn::IfThenElse(above, Divide(xl, ll), a);
        b = hn::IfThenElse(above, Zero(), b);
      }
      // sum cost * (x - a * level - b)^2
      V error = hn::MulAdd(hn::Mul(a, a), ll, xx);
      error = hn::MulAdd(hn::Mul(b, b), w, error);
      const V cross = hn::MulAdd(a, xl, hn::Sub(hn::Mul(b, x1), hn::Mul(hn::Mul(a, b), l1)));
      error = hn::NegMulAdd(Set(2), cross, error);
      const M better = hn::And(hn::Gt(determinant, Zero()), hn::Lt(error, best));
      best = hn::IfThenElse(better, error, best);
      step = hn::IfThenElse(better, a, step);
      shift = hn::IfThenElse(better, b, shift);
    }
    return {step, shift};
  }

  const ScalarGrid& grid_;
  const Levels& levels_;
};

// Calls consider(affinity) for what the grid can store around a fit. unit and shift_unit belong to
// the block where steps and shifts are multiples.
template <class Consider>
void Neighbours(const ScalarGrid& grid, const Affinity& fit, V unit, V shift_unit, V mean_level,
                Consider&& consider) {
  const auto with_shifts = [&](V step) {
    // The shift that goes best with this step: the mean stays where it is.
    const V shift = hn::MulAdd(hn::Sub(fit.step, step), mean_level, fit.shift);
    const float most = static_cast<float>(grid.shift_high);
    switch (grid.shift) {
      case ShiftKind::kNone:
        consider(Affinity{step, Zero()});
        break;
      case ShiftKind::kOwn:
        for (int c = -1; c <= 1; ++c) {
          const V moved = hn::MulAdd(Set(0.15f * static_cast<float>(c)), step, shift);
          consider(Affinity{step, Stored(grid.unit, moved)});
        }
        break;
      case ShiftKind::kMultiple:
      case ShiftKind::kZero: {
        const V of = grid.shift == ShiftKind::kZero ? step : shift_unit;
        const V nearest = Nearest(Clamp(Divide(hn::Neg(shift), of), -1.0f, most + 1));
        for (int c = -1; c <= 1; ++c) {
          const V multiple = Clamp(hn::Add(nearest, Set(static_cast<float>(c))), 0.0f, most);
          consider(Affinity{step, hn::Neg(hn::Mul(multiple, of))});
        }
        break;
      }
    }
  };
  if (grid.step == StepKind::kMultiple) {
    const float low = static_cast<float>(grid.scale_low),
                high = static_cast<float>(grid.scale_high);
    const V nearest = Nearest(Clamp(Divide(fit.step, unit), low - 1, high + 1));
    const int reach = grid.scale_high <= 15 ? 2 : 3;
    for (int a = -reach; a <= reach; ++a) {
      const V scale = Clamp(hn::Add(nearest, Set(static_cast<float>(a))), low, high);
      with_shifts(hn::Mul(scale, unit));
      if (low < 0) with_shifts(hn::Mul(Clamp(hn::Neg(scale), low, high), unit));
    }
    return;
  }
  const int reach = grid.shift == ShiftKind::kOwn ? 4 : 7;
  for (int a = -reach; a <= reach; ++a) {
    const V step = hn::Mul(fit.step, Set(1 + 0.012f * static_cast<float>(a)));
    with_shifts(Stored(grid.unit, step));
    if (grid.signed_unit && grid.shift == ShiftKind::kNone) {
      with_shifts(Stored(grid.unit, hn::Neg(step)));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // HALFTONE_METHOD_FEEDBACK_INL_H_
