#include "method/factor.h"

#include <algorithm>
#include <cmath>

// Compiled once for each instruction set: foreach_target includes this file again for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "method/factor.cc"
// clang-format off
#include "hwy/foreach_target.h"
// clang-format on
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// row[j] -= sum_p factors[p] * panel[p * stride + j], j in [begin, end), p in [0, count).
void SubtractCombination(const double* HWY_RESTRICT factors, int64_t count,
                         const double* HWY_RESTRICT panel, int64_t stride, int64_t begin,
                         int64_t end, double* HWY_RESTRICT row) {
  const hn::ScalableTag<double> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t j = begin;
  for (; j + 2 * lanes <= end; j += 2 * lanes) {
    auto a = hn::LoadU(d, row + j), b = hn::LoadU(d, row + j + lanes);
    for (int64_t p = 0; p < count; ++p) {
      const auto f = hn::Set(d, factors[p]);
      a = hn::NegMulAdd(f, hn::LoadU(d, panel + p * stride + j), a);
      b = hn::NegMulAdd(f, hn::LoadU(d, panel + p * stride + j + lanes), b);
    }
    hn::StoreU(a, d, row + j);
    hn::StoreU(b, d, row + j + lanes);
  }
  for (; j < end; ++j) {
    for (int64_t p = 0; p < count; ++p) row[j] -= factors[p] * panel[p * stride + j];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(SubtractCombination);

namespace {

constexpr int64_t kPanel = 64;  // columns that are eliminated together

// a = R R^T in place, R upper triangular with a positive diagonal; only a's upper triangle is read.
// From the last columns to the first, a panel at a time. False if a is not positive definite.
bool CholeskyFromBelow(int64_t n, ThreadPool& pool, std::vector<double>& a) {
  const auto subtract = HWY_DYNAMIC_DISPATCH(SubtractCombination);
  std::vector<double> turned(static_cast<size_t>(kPanel * n));  // the panel's columns as rows
  for (int64_t end = n; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - kPanel), width = end - begin;
    for (int64_t j = end - 1; j >= begin; --j) {
      double* row = &a[j * n];
      double d = row[j];
      for (int64_t k = j + 1; k < end; ++k) d -= row[k] * row[k];
      if (!(d > 0) || !std::isfinite(d)) return false;
      row[j] = std::sqrt(d);
      for (int64_t i = begin; i < j; ++i) {
        double s = a[i * n + j];
        for (int64_t k = j + 1; k < end; ++k) s -= a[i * n + k] * row[k];
        a[i * n + j] = s / row[j];
      }
    }
    pool.For(begin, [&](int64_t i, int) {
      double* row = &a[i * n];
      for (int64_t j = end - 1; j >= begin; --j) {
        double s = row[j];
        for (int64_t k = j + 1; k < end; ++k) s -= row[k] * a[j * n + k];
        row[j] = s / a[j * n + j];
      }
      for (int64_t j = begin; j < end; ++j) turned[(j - begin) * n + i] = row[j];
    });
    pool.For(begin, [&](int64_t i, int) {
      double* row = &a[i * n];
      subtract(row + begin, width, turned.data(), n, i, begin, row);
    });
    end = begin;
  }
  return true;
}

}  // namespace

std::optional<Factor> FactorGram(std::span<const float> gram, int64_t n, double damping,
                                 ThreadPool& pool) {
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += gram[i * n + i] / static_cast<double>(n);
  if (!(mean > 0) || !std::isfinite(mean)) return std::nullopt;
  std::vector<double> a(static_cast<size_t>(n * n));
  for (; damping <= 1; damping *= 10) {
    pool.For(n,
             [&](int64_t i, int) { std::ranges::copy(gram.subspan(i * n, n), a.begin() + i * n); });
    for (int64_t i = 0; i < n; ++i) a[i * n + i] += damping * mean;
    if (CholeskyFromBelow(n, pool, a)) break;
  }
  if (damping > 1) return std::nullopt;
  Factor factor;
  factor.n = n;
  factor.damping = damping;
  factor.d.resize(static_cast<size_t>(n));
  factor.u.assign(static_cast<size_t>(n * n), 0.0f);
  for (int64_t j = 0; j < n; ++j) {
    factor.d[j] = static_cast<float>(a[j * n + j] * a[j * n + j]);
    if (!std::isfinite(factor.d[j])) return std::nullopt;
  }
  pool.For(n, [&](int64_t i, int) {
    for (int64_t j = i + 1; j < n; ++j) {
      factor.u[i * n + j] = static_cast<float>(a[i * n + j] / a[j * n + j]);
    }
  });
  return factor;
}

}  // namespace halftone
#endif  // HWY_ONCE
