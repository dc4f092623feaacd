#include "grid/scale_search.h"

#include <algorithm>
#include <cmath>

// Compiled once for each instruction set: foreach_target includes this file again for each, and has
// to come before anything else of Highway.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grid/scale_search.cc"
// clang-format off
#include "hwy/foreach_target.h"
// clang-format on
#include "grid/scale_search-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

// lanes[i * 16 + g] = x[g * size + i]; zeros for the groups from count on. size % 4 == 0.
void ToLanes(const float* HWY_RESTRICT x, int size, int count, float* HWY_RESTRICT lanes) {
#if HWY_TARGET == HWY_SCALAR
  for (int g = 0; g < kSearchLanes; ++g) {
    for (int i = 0; i < size; ++i) {
      lanes[i * kSearchLanes + g] = g < count ? x[g * size + i] : 0.0f;
    }
  }
#else
  const hn::FixedTag<float, 4> d4;
  for (int g = 0; g < kSearchLanes; g += 4) {
    for (int i = 0; i < size; i += 4) {
      hn::Vec<decltype(d4)> row[4];
      for (int k = 0; k < 4; ++k) {
        row[k] = g + k < count ? hn::LoadU(d4, x + (g + k) * size + i) : hn::Zero(d4);
      }
      const auto low01 = hn::InterleaveLower(d4, row[0], row[1]);
      const auto low23 = hn::InterleaveLower(d4, row[2], row[3]);
      const auto high01 = hn::InterleaveUpper(d4, row[0], row[1]);
      const auto high23 = hn::InterleaveUpper(d4, row[2], row[3]);
      float* to = lanes + i * kSearchLanes + g;
      hn::StoreU(hn::ConcatLowerLower(d4, low23, low01), d4, to);
      hn::StoreU(hn::ConcatUpperUpper(d4, low23, low01), d4, to + kSearchLanes);
      hn::StoreU(hn::ConcatLowerLower(d4, high23, high01), d4, to + 2 * kSearchLanes);
      hn::StoreU(hn::ConcatUpperUpper(d4, high23, high01), d4, to + 3 * kSearchLanes);
    }
  }
#endif
}

// The groups with a weight in each lane.
struct Lanes {
  HWY_ALIGN float x[kMaxValues];
  HWY_ALIGN float w[kMaxValues];
};

// w of the lanes from `lane` on.
template <ErrorWeight kWeight>
void WeighLanes(const SearchGroups& groups, int lane, Lanes& lanes) {
  const D d;
  V add = hn::Zero(d);
  if constexpr (kWeight == ErrorWeight::kRmsPlusMagnitude) {
    V sum = hn::Zero(d);
    for (int i = 0; i < groups.size; ++i) {
      const V x = hn::Load(d, lanes.x + i * kSearchLanes + lane);
      sum = hn::Add(sum, hn::Mul(x, x));
    }
    add = hn::Sqrt(hn::Div(sum, Set(static_cast<float>(groups.size))));
  } else if constexpr (kWeight == ErrorWeight::kImportanceMagnitude) {
    HWY_ALIGN float variance[kSearchLanes] = {};
    std::copy_n(groups.variance, groups.count, variance);
    add = hn::Load(d, variance + lane);
  }
  for (int i = 0; i < groups.size; ++i) {
    float* const at = lanes.w + i * kSearchLanes + lane;
    const V x = hn::Load(d, lanes.x + i * kSearchLanes + lane);
    V w;
    if constexpr (kWeight == ErrorWeight::kMagnitude) {
      w = hn::Abs(x);
    } else if constexpr (kWeight == ErrorWeight::kRmsPlusMagnitude) {
      w = hn::Add(add, hn::Abs(x));
    } else if constexpr (kWeight == ErrorWeight::kSquare) {
      w = hn::Mul(x, x);
    } else {
      w = hn::Mul(hn::Load(d, at), hn::Sqrt(hn::Add(add, hn::Mul(x, x))));
    }
    hn::Store(w, d, at);
  }
}

void FillLanes(const SearchGroups& groups, Lanes& lanes) {
  ToLanes(groups.x, groups.size, groups.count, lanes.x);
  if (groups.importance != nullptr) {
    ToLanes(groups.importance, groups.size, groups.count, lanes.w);
  }
  const int step = static_cast<int>(hn::Lanes(D()));
  for (int lane = 0; lane < kSearchLanes; lane += step) {
    switch (groups.weight) {
      case ErrorWeight::kMagnitude:
        WeighLanes<ErrorWeight::kMagnitude>(groups, lane, lanes);
        break;
      case ErrorWeight::kRmsPlusMagnitude:
        WeighLanes<ErrorWeight::kRmsPlusMagnitude>(groups, lane, lanes);
        break;
      case ErrorWeight::kSquare:
        WeighLanes<ErrorWeight::kSquare>(groups, lane, lanes);
        break;
      case ErrorWeight::kImportance:
        break;
      case ErrorWeight::kImportanceMagnitude:
        WeighLanes<ErrorWeight::kImportanceMagnitude>(groups, lane, lanes);
        break;
    }
  }
}

// The sum of w * |difference| or w * difference^2 for codes `codes`.
template <bool kAbsolute>
HWY_INLINE V AffineError(const float* HWY_RESTRICT x, const float* HWY_RESTRICT w,
                         const float* HWY_RESTRICT codes, int size, V scale, V minimum) {
  const D d;
  V error = hn::Zero(d);
  for (int i = 0; i < size; ++i) {
    const V code = hn::Load(d, codes + i * kSearchLanes);
    V difference =
        hn::Sub(hn::Add(hn::Mul(scale, code), minimum), hn::Load(d, x + i * kSearchLanes));
    difference = kAbsolute ? hn::Abs(difference) : hn::Mul(difference, difference);
    error = hn::Add(error, hn::Mul(hn::Load(d, w + i * kSearchLanes), difference));
  }
  return error;
}

template <bool kAbsolute>
void FitAffineLanes(const AffineSearch& search, const Lanes& lanes, int size, int lane,
                    AffineFit* fit) {
  const D d;
  const float* HWY_RESTRICT x = lanes.x + lane;
  const float* HWY_RESTRICT w = lanes.w + lane;
  HWY_ALIGN float codes[kMaxValues];
  const V zero = hn::Zero(d);
  const V levels = Set(static_cast<float>(search.levels));

  V low = hn::Load(d, x);
  V high = low;
  V sum_w = hn::Load(d, w);
  V sum_x = hn::Mul(sum_w, low);
  for (int i = 1; i < size; ++i) {
    const V xi = hn::Load(d, x + i * kSearchLanes);
    const V wi = hn::Load(d, w + i * kSearchLanes);
    low = hn::Min(xi, low);  // keeps the first of zeros with different signs, as ggml does
    high = hn::Max(high, xi);
    sum_w = hn::Add(sum_w, wi);
    sum_x = hn::Add(sum_x, hn::Mul(wi, xi));
  }
  low = hn::Min(zero, low);
  const M flat = hn::Le(high, low);

  V inverse = hn::Div(levels, hn::Sub(high, low));
  V scale = hn::Div(Set(1.0f), inverse);
  V code_inverse = FiniteOrZero(inverse);
  V code_offset = low;
  for (int i = 0; i < size; ++i) {
    const V xi = hn::Load(d, x + i * kSearchLanes);
    const V code = Clamp(Nearest(hn::Mul(code_inverse, hn::Sub(xi, low))), zero, levels);
    hn::Store(code, d, codes + i * kSearchLanes);
  }
  V best = AffineError<kAbsolute>(x, w, codes, size, scale, low);

  for (int s = 0; s <= search.steps; ++s) {
    const float numerator =
        search.first + search.step * static_cast<float>(s) + static_cast<float>(search.levels);
    inverse = FiniteOrZero(hn::Div(Set(numerator), hn::Sub(high, low)));
    V sum_l = zero, sum_l2 = zero, sum_xl = zero;
    for (int i = 0; i < size; ++i) {
      const V xi = hn::Load(d, x + i * kSearchLanes);
      const V code = Clamp(Nearest(hn::Mul(inverse, hn::Sub(xi, low))), zero, levels);
      hn::Store(code, d, codes + i * kSearchLanes);
      const V wl = hn::Mul(hn::Load(d, w + i * kSearchLanes), code);
      sum_l = hn::Add(sum_l, wl);
      sum_l2 = hn::Add(sum_l2, hn::Mul(wl, code));
      sum_xl = hn::Add(sum_xl, hn::Mul(wl, xi));
    }
    // The weighted least-squares line through (code, x), kept from a positive minimum.
    const V determinant = hn::Sub(hn::Mul(sum_w, sum_l2), hn::Mul(sum_l, sum_l));
    V this_scale = hn::Div(hn::Sub(hn::Mul(sum_w, sum_xl), hn::Mul(sum_x, sum_l)), determinant);
    V this_low = hn::Div(hn::Sub(hn::Mul(sum_l2, sum_x), hn::Mul(sum_l, sum_xl)), determinant);
    const M positive = hn::Gt(this_low, zero);
    this_low = hn::IfThenElse(positive, zero, this_low);
    this_scale = hn::IfThenElse(positive, hn::Div(sum_xl, sum_l2), this_scale);
    const V error = AffineError<kAbsolute>(x, w, codes, size, this_scale, this_low);
    const M better = hn::And(hn::Gt(determinant, zero), hn::Lt(error, best));
    best = hn::IfThenElse(better, error, best);
    scale = hn::IfThenElse(better, this_scale, scale);
    code_inverse = hn::IfThenElse(better, inverse, code_inverse);
    code_offset = hn::IfThenElse(better, low, code_offset);
    low = hn::IfThenElse(better, this_low, low);
  }
  hn::StoreU(hn::IfThenZeroElse(flat, scale), d, fit->scale + lane);
  hn::StoreU(hn::Neg(low), d, fit->minimum + lane);
  hn::StoreU(sum_w, d, fit->weight + lane);
  hn::StoreU(hn::IfThenZeroElse(flat, code_inverse), d, fit->code_inverse + lane);
  hn::StoreU(code_offset, d, fit->code_offset + lane);
}

void FitAffine(const AffineSearch& search, const SearchGroups& groups, AffineFit* fit) {
  Lanes lanes;
  FillLanes(groups, lanes);
  const int step = static_cast<int>(hn::Lanes(D()));
  for (int lane = 0; lane < kSearchLanes; lane += step) {
    if (search.absolute) {
      FitAffineLanes<true>(search, lanes, groups.size, lane, fit);
    } else {
      FitAffineLanes<false>(search, lanes, groups.size, lane, fit);
    }
  }
}

// The first x of largest magnitude in each lane.
HWY_INLINE V Largest(const float* HWY_RESTRICT x, int size) {
  const D d;
  V largest = hn::Zero(d);
  for (int i = 0; i < size; ++i) {
    const V xi = hn::Load(d, x + i * kSearchLanes);
    largest = hn::IfThenElse(hn::Gt(hn::Abs(xi), hn::Abs(largest)), xi, largest);
  }
  return largest;
}

void FitSymmetricLanes(int levels, Lanes& lanes, int size, int lane, SymmetricFit* fit) {
  const D d;
  float* HWY_RESTRICT x = lanes.x + lane;
  const float* HWY_RESTRICT w = lanes.w + lane;
  HWY_ALIGN float wx[kMaxValues];
  const V zero = hn::Zero(d);
  const V lowest = Set(static_cast<float>(-levels)), highest = Set(static_cast<float>(levels - 1));
  V sum_w = zero;
  for (int i = 0; i < size; ++i) {
    const V wi = hn::Load(d, w + i * kSearchLanes);
    sum_w = hn::Add(sum_w, wi);
    hn::Store(hn::Mul(wi, hn::Load(d, x + i * kSearchLanes)), d, wx + i * kSearchLanes);
  }
  const V largest = Largest(x, size);
  const M empty = hn::Lt(hn::Abs(largest), Set(kSmallest));
  V scale = zero, best = zero, code_inverse = zero;
  for (int attempt = 0; attempt < kSymmetricTries; ++attempt) {
    const V inverse = hn::Div(Set(SymmetricNumerator(levels, attempt)), largest);
    V sum_lx = zero, sum_l2 = zero;
    for (int i = 0; i < size; ++i) {
      const V code =
          Clamp(Nearest(hn::Mul(inverse, hn::Load(d, x + i * kSearchLanes))), lowest, highest);
      sum_lx = hn::Add(sum_lx, hn::Mul(hn::Load(d, wx + i * kSearchLanes), code));
      sum_l2 = hn::Add(sum_l2, hn::Mul(hn::Mul(hn::Load(d, w + i * kSearchLanes), code), code));
    }
    const V this_scale = hn::Div(sum_lx, sum_l2);
    if (attempt == 0) {
      scale = hn::IfThenElseZero(hn::Ne(sum_l2, zero), this_scale);
      best = hn::Mul(scale, sum_lx);
      code_inverse = inverse;
      continue;
    }
    const M better =
        hn::And(hn::Gt(sum_l2, zero), hn::Gt(hn::Mul(sum_lx, sum_lx), hn::Mul(best, sum_l2)));
    scale = hn::IfThenElse(better, this_scale, scale);
    best = hn::IfThenElse(better, hn::Mul(this_scale, sum_lx), best);
    code_inverse = hn::IfThenElse(better, inverse, code_inverse);
  }
  hn::StoreU(hn::IfThenZeroElse(empty, scale), d, fit->scale + lane);
  hn::StoreU(sum_w, d, fit->weight + lane);
  hn::StoreU(hn::IfThenZeroElse(empty, code_inverse), d, fit->code_inverse + lane);
}

void FitSymmetric(int levels, const SearchGroups& groups, SymmetricFit* fit) {
  Lanes lanes;
  FillLanes(groups, lanes);
  const int step = static_cast<int>(hn::Lanes(D()));
  for (int lane = 0; lane < kSearchLanes; lane += step) {
    FitSymmetricLanes(levels, lanes, groups.size, lane, fit);
  }
}

// Vectors that take FitSymmetricGreedy's steps together: each step is a long chain of dependent
// operations with a division in it, so one vector alone leaves the processor waiting.
constexpr int kGreedyVectors = 2;

// x, w, wx, codes: [kGreedyVectors][size * kSearchLanes], each vector at `at[v]`.
struct GreedyLanes {
  HWY_ALIGN float x[kGreedyLanes / kSearchLanes * kMaxValues];
  HWY_ALIGN float w[kGreedyLanes / kSearchLanes * kMaxValues];
  HWY_ALIGN float wx[kGreedyLanes / kSearchLanes * kMaxValues];
  HWY_ALIGN float codes[kGreedyLanes / kSearchLanes * kMaxValues];
};

struct GreedySums {
  V lx, l2;
};

// The plain codes and their sums.
HWY_INLINE GreedySums StartGreedy(GreedyLanes& lanes, int first, int size, V largest, V lowest,
                                  V highest) {
  const D d;
  const V inverse = hn::Div(lowest, largest);
  GreedySums sums{hn::Zero(d), hn::Zero(d)};
  for (int i = 0; i < size; ++i) {
    const int at = first + i * kSearchLanes;
    const V x = hn::Load(d, lanes.x + at);
    const V w = hn::Mul(x, x);
    const V wx = hn::Mul(w, x);
    const V code = Clamp(Nearest(hn::Mul(inverse, x)), lowest, highest);
    sums.lx = hn::Add(sums.lx, hn::Mul(wx, code));
    sums.l2 = hn::Add(sums.l2, hn::Mul(hn::Mul(w, code), code));
    hn::Store(w, d, lanes.w + at);
    hn::Store(wx, d, lanes.wx + at);
    hn::Store(code, d, lanes.codes + at);
  }
  return sums;
}

// Moves the code at `at` where the best code for the scale of all others is better; says where.
HWY_INLINE M MoveGreedy(GreedyLanes& lanes, int at, int levels, GreedySums& sums) {
  const D d;
  const V zero = hn::Zero(d);
  const V code = hn::Load(d, lanes.codes + at);
  const V w = hn::Load(d, lanes.w + at);
  const V wx = hn::Load(d, lanes.wx + at);
  const V lx = hn::Sub(sums.lx, hn::Mul(wx, code));
  const V l2 = hn::Sub(sums.l2, hn::Mul(hn::Mul(w, code), code));
  const V ratio = hn::Div(hn::Mul(hn::Load(d, lanes.x + at), l2), lx);
  const V moved = hn::ConvertTo(d, NearestWrapped(ratio, -levels, levels - 1));
  const V moved_lx = hn::Add(lx, hn::Mul(wx, moved));
  const V moved_l2 = hn::Add(l2, hn::Mul(hn::Mul(w, moved), moved));
  const M better = hn::Gt(hn::Mul(hn::Mul(moved_lx, moved_lx), sums.l2),
                          hn::Mul(hn::Mul(sums.lx, sums.lx), moved_l2));
  const M take = hn::And(hn::And(hn::Gt(lx, zero), hn::Ne(moved, code)),
                         hn::And(hn::Gt(moved_l2, zero), better));
  sums.lx = hn::IfThenElse(take, moved_lx, sums.lx);
  sums.l2 = hn::IfThenElse(take, moved_l2, sums.l2);
  hn::Store(hn::IfThenElse(take, moved, code), d, lanes.codes + at);
  return take;
}

// The groups of kGreedyVectors vectors, the first of them group `group`.
void FitGreedyLanes(int levels, GreedyLanes& lanes, int size, int group, GreedyFit* fit) {
  const D d;
  const V zero = hn::Zero(d);
  const V lowest = Set(static_cast<float>(-levels)), highest = Set(static_cast<float>(levels - 1));
  int first[kGreedyVectors], groups[kGreedyVectors];
  M empty[kGreedyVectors];
  GreedySums sums[kGreedyVectors];
  for (int v = 0; v < kGreedyVectors; ++v) {
    groups[v] = group + v * static_cast<int>(hn::Lanes(d));
    first[v] = groups[v] / kSearchLanes * kMaxValues + groups[v] % kSearchLanes;
    const V largest = Largest(lanes.x + first[v], size);
    empty[v] = hn::Lt(hn::Abs(largest), Set(kSmallest));
    sums[v] = StartGreedy(lanes, first[v], size, largest, lowest, highest);
  }
  // A lane that changed nothing in a round would change nothing in the next, so all lanes may go on
  // until none changes.
  for (int round = 0; round < 5; ++round) {
    M changed = hn::Ne(zero, zero);
    for (int i = 0; i < size; ++i) {
      for (int v = 0; v < kGreedyVectors; ++v) {
        const M moved = MoveGreedy(lanes, first[v] + i * kSearchLanes, levels, sums[v]);
        changed = hn::Or(changed, hn::AndNot(empty[v], moved));
      }
    }
    if (hn::AllFalse(d, changed)) break;
  }
  for (int v = 0; v < kGreedyVectors; ++v) {
    const V scale = hn::IfThenElseZero(hn::Gt(sums[v].l2, zero), hn::Div(sums[v].lx, sums[v].l2));
    hn::StoreU(hn::IfThenZeroElse(empty[v], scale), d, fit->scale + groups[v]);
    for (int i = 0; i < size; ++i) {
      const V code = hn::Sub(hn::Load(d, lanes.codes + first[v] + i * kSearchLanes), lowest);
      hn::StoreU(hn::IfThenZeroElse(empty[v], code), d, fit->codes + i * kGreedyLanes + groups[v]);
    }
  }
}

void FitSymmetricGreedy(int levels, const float* x, int size, int count, GreedyFit* fit) {
  GreedyLanes lanes;
  ToLanes(x, size, std::min(count, kSearchLanes), lanes.x);
  ToLanes(x + kSearchLanes * size, size, std::max(count - kSearchLanes, 0), lanes.x + kMaxValues);
  const int step = kGreedyVectors * static_cast<int>(hn::Lanes(D()));
  for (int group = 0; group < count; group += step) FitGreedyLanes(levels, lanes, size, group, fit);
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(FitAffine);
HWY_EXPORT(FitSymmetric);
HWY_EXPORT(FitSymmetricGreedy);

void FitAffine(const AffineSearch& search, const SearchGroups& groups, AffineFit* fit) {
  HWY_DYNAMIC_DISPATCH(FitAffine)(search, groups, fit);
}

void FitSymmetric(int levels, const SearchGroups& groups, SymmetricFit* fit) {
  HWY_DYNAMIC_DISPATCH(FitSymmetric)(levels, groups, fit);
}

void FitSymmetricGreedy(int levels, const float* x, int size, int count, GreedyFit* fit) {
  HWY_DYNAMIC_DISPATCH(FitSymmetricGreedy)(levels, x, size, count, fit);
}

}  // namespace halftone
#endif  // HWY_ONCE
