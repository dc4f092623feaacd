// The searches of scale_search.h that work on one group at a time: its candidates or its weights,
// rather than groups, lie in the lanes.

#include <algorithm>
#include <cmath>

#include "grid/scale_search.h"

// Compiled once for each instruction set: foreach_target includes this file again for each, and has
// to come before anything else of Highway.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "grid/scale_search_single.cc"
// clang-format off
#include "hwy/foreach_target.h"
// clang-format on
#include "grid/scale_search-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

float FitSymmetricOne(int levels, int size, const float* x, const float* weight, uint8_t* codes) {
  float largest = 0;
  for (int i = 0; i < size; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  if (std::fabs(largest) < kSmallest) {
    std::fill_n(codes, size, uint8_t{0});
    return 0;
  }
  constexpr int kPadded = 32;
  static_assert(kPadded >= kSymmetricTries && kPadded % kSearchLanes == 0);
  HWY_ALIGN float inverses[kPadded] = {};
  HWY_ALIGN float all_lx[kPadded], all_l2[kPadded];
  for (int t = 0; t < kSymmetricTries; ++t) inverses[t] = SymmetricNumerator(levels, t) / largest;
  const D d;
  const int step = static_cast<int>(hn::Lanes(d));
  const V lowest = Set(static_cast<float>(-levels)), highest = Set(static_cast<float>(levels - 1));
  for (int t = 0; t < kSymmetricTries; t += step) {
    const V inverse = hn::Load(d, inverses + t);
    V sum_lx = hn::Zero(d), sum_l2 = hn::Zero(d);
    for (int i = 0; i < size; ++i) {
      const V code = Clamp(Nearest(hn::Mul(inverse, Set(x[i]))), lowest, highest);
      sum_lx = hn::Add(sum_lx, hn::Mul(Set(weight[i] * x[i]), code));
      sum_l2 = hn::Add(sum_l2, hn::Mul(hn::Mul(Set(weight[i]), code), code));
    }
    hn::Store(sum_lx, d, all_lx + t);
    hn::Store(sum_l2, d, all_l2 + t);
  }
  float scale = all_l2[0] != 0 ? all_lx[0] / all_l2[0] : 0.0f;
  float best = scale * all_lx[0];
  float inverse = inverses[0];
  for (int t = 1; t < kSymmetricTries; ++t) {
    if (all_l2[t] > 0 && all_lx[t] * all_lx[t] > best * all_l2[t]) {
      scale = all_lx[t] / all_l2[t];
      best = scale * all_lx[t];
      inverse = inverses[t];
    }
  }
  for (int i = 0; i < size; ++i) {
    codes[i] =
        static_cast<uint8_t>(levels + std::clamp(NearestInt(inverse * x[i]), -levels, levels - 1));
  }
  return scale;
}

// The inverse scale of FitPositive with the least weighted squared error, of 9 around
// levels / largest.
float PositiveInverse(int levels, int size, const float* HWY_RESTRICT x,
                      const float* HWY_RESTRICT weight, float largest) {
  constexpr int kTries = 9, kPadded = 16;
  HWY_ALIGN float inverses[kPadded], scales[kPadded], errors[kPadded];
  for (int t = 0; t < kPadded; ++t) {
    // -4..-1 and 1..4 in units of 0.1, after the plain one.
    const int is = t == 0 || t >= kTries ? 0 : t <= 4 ? t - 5 : t - 4;
    inverses[t] = is == 0 ? static_cast<float>(levels) / largest
                          : (0.1f * static_cast<float>(is) + static_cast<float>(levels)) / largest;
    scales[t] = 1 / inverses[t];
  }
  const D d;
  const int step = static_cast<int>(hn::Lanes(d));
  const V highest = Set(static_cast<float>(levels));
  for (int t = 0; t < kTries; t += step) {
    const V inverse = hn::Load(d, inverses + t), scale = hn::Load(d, scales + t);
    V error = hn::Zero(d);
    for (int i = 0; i < size; ++i) {
      const V xi = Set(x[i]);
      const V code = hn::Min(Nearest(hn::Mul(inverse, xi)), highest);
      const V difference = hn::Sub(xi, hn::Mul(scale, code));
      error = hn::Add(error, hn::Mul(hn::Mul(Set(weight[i]), difference), difference));
    }
    hn::Store(error, d, errors + t);
  }
  if (*std::min_element(x, x + size) < 0) {
    // Not what this is for, but a fit may come out negative; ggml's first try then wraps the code.
    errors[0] = 0;
    for (int i = 0; i < size; ++i) {
      const float code = static_cast<float>(static_cast<uint8_t>(NearestInt(inverses[0] * x[i])));
      const float difference = x[i] - scales[0] * code;
      errors[0] += weight[i] * difference * difference;
    }
  }
  int best = 0;
  for (int t = 1; t < kTries; ++t) {
    if (errors[t] < errors[best]) best = t;
  }
  return inverses[best];
}

float FitPositive(int levels, int size, const float* x, const float* weight, uint8_t* codes) {
  float largest = 0;
  for (int i = 0; i < size; ++i) largest = std::max(largest, x[i]);
  if (largest < kSmallest) {
    std::fill_n(codes, size, uint8_t{0});
    return 0;
  }
  const float inverse = PositiveInverse(levels, size, x, weight, largest);
  float sum_lx = 0, sum_l2 = 0;
  for (int i = 0; i < size; ++i) {
    const int code = std::min(levels, NearestInt(inverse * x[i]));
    codes[i] = static_cast<uint8_t>(code);
    const float w = weight[i], l = static_cast<float>(code);
    sum_lx += w * x[i] * l;
    sum_l2 += w * l * l;
  }
  for (int round = 0; round < 5; ++round) {
    bool changed = false;
    for (int i = 0; i < size; ++i) {
      const float w = weight[i], old = static_cast<float>(codes[i]);
      const float lx = sum_lx - w * x[i] * old, l2 = sum_l2 - w * old * old;
      if (!(lx > 0 && l2 > 0)) continue;
      const int moved = std::min(levels, NearestInt(x[i] * l2 / lx));
      if (moved == codes[i]) continue;
      const float l = static_cast<float>(moved);
      const float moved_lx = lx + w * x[i] * l, moved_l2 = l2 + w * l * l;
      if (moved_lx * moved_lx * sum_l2 > sum_lx * sum_lx * moved_l2) {
        codes[i] = static_cast<uint8_t>(moved);
        sum_lx = moved_lx;
        sum_l2 = moved_l2;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return sum_l2 > 0 ? sum_lx / sum_l2 : 0.0f;
}

void RoundGroups(const float* x, int size, int count, const float* divisor, const float* offset,
                 int low, int high, uint8_t* codes) {
  const D d;
  const DI di;
  const hn::Rebind<uint8_t, D> d8;
  const int step = static_cast<int>(hn::Lanes(d));
  for (int g = 0; g < count; ++g, x += size, codes += size) {
    if (divisor[g] == 0) continue;
    const V by = Set(divisor[g]), plus = Set(offset[g]);
    for (int i = 0; i < size; i += step) {
      const V level = hn::Div(hn::Add(hn::LoadU(d, x + i), plus), by);
      const auto code = hn::Sub(NearestWrapped(level, low, high), hn::Set(di, low));
      hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
    }
  }
}

void SumSquares(const float* x, int size, int count, float* sums) {
  // Each sum is a chain of dependent additions; four chains at a time hide their latency.
  int r = 0;
  for (; r + 4 <= count; r += 4) {
    const float* a = x + r * size;
    float sum[4] = {};
    for (int i = 0; i < size; ++i) {
      for (int k = 0; k < 4; ++k) sum[k] += a[k * size + i] * a[k * size + i];
    }
    std::copy_n(sum, 4, sums + r);
  }
  for (; r < count; ++r) {
    float sum = 0;
    for (int i = 0; i < size; ++i) sum += x[r * size + i] * x[r * size + i];
    sums[r] = sum;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(FitSymmetricOne);
HWY_EXPORT(FitPositive);
HWY_EXPORT(RoundGroups);
HWY_EXPORT(SumSquares);

float FitSymmetricOne(int levels, int size, const float* x, const float* weight, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(FitSymmetricOne)(levels, size, x, weight, codes);
}

float FitPositive(int levels, int size, const float* x, const float* weight, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(FitPositive)(levels, size, x, weight, codes);
}

void RoundGroups(const float* x, int size, int count, const float* divisor, const float* offset,
                 int low, int high, uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(RoundGroups)(x, size, count, divisor, offset, low, high, codes);
}

void SumSquares(const float* x, int size, int count, float* sums) {
  HWY_DYNAMIC_DISPATCH(SumSquares)(x, size, count, sums);
}

}  // namespace halftone
#endif  // HWY_ONCE
