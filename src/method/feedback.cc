#include "method/feedback.h"

#include <algorithm>
#include <cmath>
#include <vector>

// Compiled once for each instruction set: foreach_target includes this file again for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "method/feedback.cc"
// clang-format off
#include "hwy/foreach_target.h"
// clang-format on
#include "hwy/aligned_allocator.h"
#include "hwy/highway.h"
#include "method/feedback-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

// Groups longer than this keep the parameters of their fit: trying each with feedback inside the
// group would cost more than it gives.
constexpr int kMaxSearched = 256;

// Vectors, one for each column (or group): floats [n * lanes].
class Vectors {
 public:
  explicit Vectors(int64_t n)
      : floats_(hwy::AllocateAligned<float>(std::max<int64_t>(1, n) * Lanes())), n_(n) {
    Clear();
  }
  void Clear() { std::fill_n(floats_.get(), n_ * Lanes(), 0.0f); }
  HWY_INLINE V operator[](int64_t i) const { return Load(floats_.get() + i * Lanes()); }
  HWY_INLINE void Set(int64_t i, V v) { Store(v, floats_.get() + i * Lanes()); }
  HWY_INLINE float* at(int64_t i) { return floats_.get() + i * Lanes(); }
  HWY_INLINE const float* at(int64_t i) const { return floats_.get() + i * Lanes(); }

 private:
  hwy::AlignedFreeUniquePtr<float[]> floats_;
  int64_t n_;
};

// What rounding `block` columns gives.
struct BlockResult {
  BlockResult(int64_t columns, int64_t groups)
      : errors(columns), codes(columns), steps(groups), shifts(groups) {}
  Vectors errors, codes;  // [columns]: weight - value, code
  Vectors steps, shifts;  // [groups]
};

class Strip {
 public:
  Strip(const FeedbackProblem& problem, const Grid& grid, const FeedbackOptions& options)
      : p_(problem),
        f_(*problem.factor),
        n_(f_.n),
        grid_(grid),
        scalar_(*grid.scalar),
        options_(options),
        levels_(scalar_),
        fitter_(scalar_, levels_),
        groups_(grid.block / scalar_.group),
        weights_(n_),
        result_(n_, n_ / scalar_.group),
        units_(n_ / grid.block),
        shift_units_(n_ / grid.block),
        targets_(grid.block),
        group_targets_(scalar_.group),
        gradient_(options.sweeps > 0 ? n_ : 0),
        best_(grid.block, groups_),
        trial_(grid.block, groups_) {}

  // Rounds rows [first, first + Lanes()), the last row repeated where there are fewer.
  void Run(int64_t first, uint8_t* blocks) {
    LoadRows(first);
    for (int64_t at = 0; at < n_; at += grid_.block) RoundBlock(at);
    if (options_.sweeps > 0) Descend();
    Pack(first, blocks);
  }

 private:
  void LoadRows(int64_t first) {
    Gather(p_.weights, first, weights_);
    if (p_.drift.empty() || p_.drift_share == 0) return;
    Vectors x(n_);
    AddProduct(p_.drift.data(), weights_, 0, n_, n_, x.at(0));
    for (int64_t j = 0; j < n_; ++j) x.Set(j, hn::Mul(x[j], Set(p_.drift_share)));
    Solve(x);
    for (int64_t j = 0; j < n_; ++j) weights_.Set(j, hn::Add(weights_[j], x[j]));
  }

  void Gather(std::span<const float> rows, int64_t first, Vectors& to) const {
    for (int64_t lane = 0; lane < Lanes(); ++lane) {
      const float* row = rows.data() + std::min(first + lane, p_.rows - 1) * n_;
      for (int64_t j = 0; j < n_; ++j) to.at(j)[lane] = row[j];
    }
  }

  // x := x (U D U^T)^-1.
  void Solve(Vectors& x) const {
    for (int64_t i = n_ - 1; i >= 0; --i) {
      const float* u = f_.u.data() + i * n_;
      V s = x[i];
      for (int64_t j = i + 1; j < n_; ++j) s = hn::NegMulAdd(Set(u[j]), x[j], s);
      x.Set(i, s);
    }
    for (int64_t j = 0; j < n_; ++j) x.Set(j, hn::Mul(x[j], Set(1 / f_.d[j])));
    for (int64_t i = 0; i < n_; ++i) {
      const float* u = f_.u.data() + i * n_;
      const V xi = x[i];
      for (int64_t j = i + 1; j < n_; ++j) x.Set(j, hn::NegMulAdd(Set(u[j]), xi, x[j]));
    }
  }

  // out[j] += sum_i errors[i] * U[from + i, to + j], i < count, j < size.
  void AddFeedback(const Vectors& errors, int64_t count, int64_t from, int64_t to, int64_t size,
                   float* out) const {
    AddProduct(f_.u.data() + from * n_ + to, errors, 0, count, size, out);
  }

  // out[j] += sum_i x[first + i] * matrix[i * n + j], i < count, j < size.
  void AddProduct(const float* matrix, const Vectors& x, int64_t first, int64_t count, int64_t size,
                  float* out) const {
    constexpr int kColumns = 8;
    for (int64_t j = 0; j < size; j += kColumns) {
      const float* u = matrix + j;
      float* o = out + j * Lanes();
      if (j + kColumns > size) {
        for (int64_t k = 0; j + k < size; ++k) {
          V s = Load(o + k * Lanes());
          for (int64_t i = 0; i < count; ++i) s = hn::MulAdd(x[first + i], Set(u[i * n_ + k]), s);
          Store(s, o + k * Lanes());
        }
        break;
      }
      V s[kColumns];
      for (int k = 0; k < kColumns; ++k) s[k] = Load(o + k * Lanes());
      for (int64_t i = 0; i < count; ++i) {
        const V e = x[first + i];
        const float* row = u + i * n_;
        for (int k = 0; k < kColumns; ++k) s[k] = hn::MulAdd(e, Set(row[k]), s[k]);
      }
      for (int k = 0; k < kColumns; ++k) Store(s[k], o + k * Lanes());
    }
  }

  // Rounds a group's targets with feedback inside it; returns the weighted error. Writes errors and
  // codes from column `at` of `to` on if it is given.
  V RoundGroup(int64_t column, const Vectors& targets, const Affinity& a, BlockResult* to,
               int64_t at) const {
    const int size = scalar_.group;
    const V inverse = Divide(Set(1), a.step);
    V total = Zero();
    // Errors of this group so far. Long groups keep them in the result instead of on the stack.
    HWY_ALIGN float own[kMaxSearched * kStrip];
    float* errors = to != nullptr ? to->errors.at(at) : own;
    for (int j = 0; j < size; ++j) {
      V t = targets[j];
      const float* u = f_.u.data() + column * n_ + column + j;
      for (int i = 0; i < j; ++i) {
        t = hn::MulAdd(Load(errors + i * Lanes()), Set(u[static_cast<int64_t>(i) * n_]), t);
      }
      const Rounded r = levels_.Round(t, a, inverse);
      const V residual = hn::Sub(t, r.value);
      total = hn::MulAdd(hn::Mul(residual, residual), Set(f_.d[column + j]), total);
      Store(hn::Sub(weights_[column + j], r.value), errors + j * Lanes());
      if (to != nullptr) to->codes.Set(at + j, r.code);
    }
    return total;
  }

  // The mean level of a fit's codes, by cost.
  V MeanLevel(const GroupTargets& t, const Affinity& fit) const {
    if (scalar_.shift == ShiftKind::kNone) return Zero();
    const V inverse = Divide(Set(1), fit.step);
    V sum = Zero();
    float costs = 0;
    for (int j = 0; j < t.size; ++j) {
      const Rounded r = levels_.Round(Load(t.targets + j * Lanes()), fit, inverse);
      sum = hn::MulAdd(Set(t.costs[j]), levels_.LevelOf(r.code), sum);
      costs += t.costs[j];
    }
    return Divide(sum, Set(costs));
  }

  // The best parameters of the group of `column`, whose targets are in group_targets_.
  Affinity Search(int64_t column, V unit, V shift_unit) {
    const GroupTargets t{group_targets_.at(0), f_.d.data() + column, scalar_.group};
    const Affinity fit = fitter_.Fit(t);
    const bool search = scalar_.group <= kMaxSearched;
    V best = Set(std::numeric_limits<float>::infinity());
    Affinity chosen{Zero(), Zero()};
    Neighbours(scalar_, fit, unit, shift_unit, MeanLevel(t, fit), [&](const Affinity& a) {
      const V error = search ? RoundGroup(column, group_targets_, a, nullptr, 0) : PlainError(t, a);
      const M better = hn::Lt(error, best);
      best = hn::IfThenElse(better, error, best);
      chosen.step = hn::IfThenElse(better, a.step, chosen.step);
      chosen.shift = hn::IfThenElse(better, a.shift, chosen.shift);
    });
    return chosen;
  }

  V PlainError(const GroupTargets& t, const Affinity& a) const {
    const V inverse = Divide(Set(1), a.step);
    V total = Zero();
    for (int j = 0; j < t.size; ++j) {
      const V x = Load(t.targets + j * Lanes());
      const V residual = hn::Sub(x, levels_.Round(x, a, inverse).value);
      total = hn::MulAdd(hn::Mul(residual, residual), Set(t.costs[j]), total);
    }
    return total;
  }

  // The targets of the block at `at` as far as the columns before it decide them.
  void TargetsOfBlock(int64_t at) {
    for (int64_t j = 0; j < grid_.block; ++j) targets_.Set(j, weights_[at + j]);
    AddFeedback(result_.errors, at, 0, at, grid_.block, targets_.at(0));
  }

  void RoundBlock(int64_t at) {
    TargetsOfBlock(at);
    if (scalar_.step != StepKind::kMultiple) {
      // One group, whose own parameters are the block's.
      std::copy_n(targets_.at(0), grid_.block * Lanes(), group_targets_.at(0));
      const Affinity a = Search(at, Zero(), Zero());
      RoundGroup(at, group_targets_, a, &result_, at);
      result_.steps.Set(at / grid_.block, a.step);
      result_.shifts.Set(at / grid_.block, a.shift);
      units_.Set(at / grid_.block, a.step);
      shift_units_.Set(at / grid_.block, a.shift);
      return;
    }
    V largest_step = Zero(), largest_shift = Zero();
    for (int g = 0; g < groups_; ++g) {
      const Affinity a = fitter_.Fit(
          {targets_.at(g * scalar_.group), f_.d.data() + at + g * scalar_.group, scalar_.group});
      largest_step =
          hn::IfThenElse(hn::Gt(hn::Abs(a.step), hn::Abs(largest_step)), a.step, largest_step);
      largest_shift = hn::Max(largest_shift, hn::Neg(a.shift));
    }
    TryUnits(at, largest_step, largest_shift);
  }

  // Rounds the block for several units and keeps the best.
  void TryUnits(int64_t at, V largest_step, V largest_shift) {
    const bool shifted = scalar_.shift == ShiftKind::kMultiple;
    const auto end =
        static_cast<float>(scalar_.scale_low < 0 ? scalar_.scale_low : scalar_.scale_high);
    V best = Set(std::numeric_limits<float>::infinity()), unit = Zero(), shift_unit = Zero();
    for (int k = 0; k < options_.units; ++k) {
      const float shrink = options_.units == 1 ? 1.0f
                                               : 1.05f - 0.2f * static_cast<float>(k) /
                                                             static_cast<float>(options_.units - 1);
      const V u = Stored(scalar_.unit, hn::Mul(largest_step, Set(shrink / end)));
      for (int s = 0; s < (shifted && options_.units > 1 ? 2 : 1); ++s) {
        const float shift_end = static_cast<float>(std::max(1, scalar_.shift_high));
        const V su = shifted
                         ? Stored(scalar_.unit,
                                  hn::Mul(largest_shift, Set((s == 0 ? 1.0f : 0.9f) / shift_end)))
                         : Zero();
        const V error = RoundGroups(at, u, su);
        const M better = hn::Lt(error, best);
        best = hn::IfThenElse(better, error, best);
        unit = hn::IfThenElse(better, u, unit);
        shift_unit = hn::IfThenElse(better, su, shift_unit);
        Keep(better, trial_.errors, best_.errors, grid_.block);
        Keep(better, trial_.codes, best_.codes, grid_.block);
        Keep(better, trial_.steps, best_.steps, groups_);
        Keep(better, trial_.shifts, best_.shifts, groups_);
      }
    }
    units_.Set(at / grid_.block, unit);
    shift_units_.Set(at / grid_.block, shift_unit);
    const int64_t columns = grid_.block * Lanes(), first = at / scalar_.group;
    std::copy_n(best_.errors.at(0), columns, result_.errors.at(at));
    std::copy_n(best_.codes.at(0), columns, result_.codes.at(at));
    std::copy_n(best_.steps.at(0), groups_ * Lanes(), result_.steps.at(first));
    std::copy_n(best_.shifts.at(0), groups_ * Lanes(), result_.shifts.at(first));
  }

  static void Keep(M better, const Vectors& from, Vectors& to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to.Set(i, hn::IfThenElse(better, from[i], to[i]));
  }

  // One pass over the block's groups into trial_.
  V RoundGroups(int64_t at, V unit, V shift_unit) {
    V total = Zero();
    for (int g = 0; g < groups_; ++g) {
      const int64_t inside = static_cast<int64_t>(g) * scalar_.group;
      std::copy_n(targets_.at(inside), scalar_.group * Lanes(), group_targets_.at(0));
      AddFeedback(trial_.errors, inside, at, at + inside, scalar_.group, group_targets_.at(0));
      const Affinity a = Search(at + inside, unit, shift_unit);
      total = hn::Add(total, RoundGroup(at + inside, group_targets_, a, &trial_, inside));
      trial_.steps.Set(g, a.step);
      trial_.shifts.Set(g, a.shift);
    }
    return total;
  }

  // Coordinate descent under the full matrix: with the gradient G = E H of half the error, the best
  // value of column j, all others given, is value + G[j] / H[j,j].
  void Descend() {
    Vectors& errors = result_.errors;
    for (int64_t i = 0; i < n_; ++i) {
      const float* h = p_.gram.data() + i * n_;
      V s = Zero();
      for (int64_t j = 0; j < n_; ++j) s = hn::MulAdd(Set(h[j]), errors[j], s);
      gradient_.Set(i, s);
    }
    for (int sweep = 0; sweep < options_.sweeps; ++sweep) {
      for (int64_t j = 0; j < n_; ++j) {
        const float* h = p_.gram.data() + j * n_;
        const int64_t g = j / scalar_.group;
        const Affinity a{result_.steps[g], result_.shifts[g]};
        const V value = hn::Sub(weights_[j], errors[j]);
        const V wanted = hn::MulAdd(gradient_[j], Set(1 / h[j]), value);
        const Rounded r = levels_.Round(wanted, a, Divide(Set(1), a.step));
        const M moved = hn::Ne(r.code, result_.codes[j]);
        if (hn::AllFalse(D(), moved)) continue;
        const V change = hn::IfThenElseZero(moved, hn::Sub(value, r.value));
        result_.codes.Set(j, r.code);
        errors.Set(j, hn::Add(errors[j], change));
        for (int64_t i = 0; i < n_; ++i) {
          gradient_.Set(i, hn::MulAdd(Set(h[i]), change, gradient_[i]));
        }
      }
    }
  }

  void Pack(int64_t first, uint8_t* blocks) const {
    std::vector<uint8_t> codes(static_cast<size_t>(grid_.block));
    for (int64_t lane = 0; lane < std::min(Lanes(), p_.rows - first); ++lane) {
      uint8_t* row = blocks + static_cast<uint64_t>(first + lane) * grid_.RowBytes(n_);
      for (int64_t b = 0; b * grid_.block < n_; ++b) {
        const int64_t at = b * grid_.block;
        const int64_t block = Column(at) / grid_.block;
        BlockParameters parameters;
        parameters.unit = units_.at(b)[lane];
        parameters.shift_unit = shift_units_.at(b)[lane];
        for (int g = 0; g < groups_; ++g) {
          const float step = result_.steps.at(b * groups_ + g)[lane];
          const float shift = result_.shifts.at(b * groups_ + g)[lane];
          const int64_t to = Column(at + g * scalar_.group) % grid_.block / scalar_.group;
          parameters.scale[to] = Multiple(step, parameters.unit);
          parameters.shift[to] =
              Multiple(-shift, scalar_.shift == ShiftKind::kZero ? step : parameters.shift_unit);
        }
        for (int64_t e = 0; e < grid_.block; ++e) {
          codes[Column(at + e) % grid_.block] =
              static_cast<uint8_t>(result_.codes.at(at + e)[lane]);
        }
        scalar_.pack(grid_, parameters, codes.data(), row + block * grid_.bytes);
      }
    }
  }

  int64_t Column(int64_t position) const {
    return p_.order.empty() ? position : p_.order[position];
  }

  static int16_t Multiple(float value, float unit) {
    return unit == 0 ? int16_t{0} : static_cast<int16_t>(std::lround(value / unit));
  }

  const FeedbackProblem& p_;
  const Factor& f_;
  const int64_t n_;
  const Grid& grid_;
  const ScalarGrid& scalar_;
  const FeedbackOptions& options_;
  const Levels levels_;
  const Fitter fitter_;
  const int groups_;  // of a block

  Vectors weights_;              // the targets before any feedback
  BlockResult result_;           // of the whole rows
  Vectors units_, shift_units_;  // of each block
  Vectors targets_, group_targets_, gradient_;
  BlockResult best_, trial_;  // of one block
};

void RoundStrips(const FeedbackProblem& problem, const Grid& grid, const FeedbackOptions& options,
                 ThreadPool& pool, uint8_t* blocks) {
  const int64_t lanes = Lanes();
  pool.For((problem.rows + lanes - 1) / lanes,
           [&](int64_t strip, int) { Strip(problem, grid, options).Run(strip * lanes, blocks); });
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(RoundStrips);

void RoundWithFeedback(const FeedbackProblem& problem, const Grid& grid,
                       const FeedbackOptions& options, ThreadPool& pool, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(RoundStrips)(problem, grid, options, pool, blocks);
}

}  // namespace halftone
#endif  // HWY_ONCE
