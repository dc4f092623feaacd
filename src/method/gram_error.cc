#include "method/gram_error.h"

#include <algorithm>
#include <cmath>
#include <vector>

// Compiled once for each instruction set: foreach_target includes this file again for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "method/gram_error.cc"
// clang-format off
#include "hwy/foreach_target.h"
// clang-format on
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Rows that share each row of the matrix.
constexpr int kRows = 4;

// sum_r a[r] M b[r]^T of up to kRows rows of n values.
double Bilinear(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t rows,
                const float* HWY_RESTRICT matrix, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  double total = 0;
  // Rows that are not there repeat the first and count for nothing.
  const float* each[kRows];
  for (int64_t r = 0; r < kRows; ++r) each[r] = b + (r < rows ? r : 0) * n;
  for (int64_t i = 0; i < n; ++i) {
    const float* m = matrix + i * n;
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    int64_t j = 0;
    for (; j + lanes <= n; j += lanes) {
      const auto v = hn::LoadU(d, m + j);
      s0 = hn::MulAdd(v, hn::LoadU(d, each[0] + j), s0);
      s1 = hn::MulAdd(v, hn::LoadU(d, each[1] + j), s1);
      s2 = hn::MulAdd(v, hn::LoadU(d, each[2] + j), s2);
      s3 = hn::MulAdd(v, hn::LoadU(d, each[3] + j), s3);
    }
    double dots[kRows] = {hn::GetLane(hn::SumOfLanes(d, s0)), hn::GetLane(hn::SumOfLanes(d, s1)),
                          hn::GetLane(hn::SumOfLanes(d, s2)), hn::GetLane(hn::SumOfLanes(d, s3))};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = j; k < n; ++k) dots[r] += static_cast<double>(m[k]) * each[r][k];
      total += a[r * n + i] * dots[r];
    }
  }
  return total;
}

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

HWY_EXPORT(Bilinear);

namespace {

constexpr int64_t kPiece = 4;  // HWY_NAMESPACE::kRows

// The sum of piece(first, count) over all rows, added in their order.
template <class Piece>
double SumOverRows(int64_t rows, ThreadPool& pool, Piece&& piece) {
  std::vector<double> each(static_cast<size_t>((rows + kPiece - 1) / kPiece));
  pool.For(std::ssize(each), [&](int64_t i, int) {
    each[i] = piece(i * kPiece, std::min(kPiece, rows - i * kPiece));
  });
  double total = 0;
  for (const double e : each) total += e;
  return total;
}

}  // namespace

double OutputError(std::span<const float> weights, int64_t rows, const Grid& grid,
                   const uint8_t* blocks, std::span<const float> gram, std::span<const float> drift,
                   float share, ThreadPool& pool) {
  const auto bilinear = HWY_DYNAMIC_DISPATCH(Bilinear);
  const auto n = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(gram.size()))));
  return SumOverRows(rows, pool, [&](int64_t first, int64_t count) {
    std::vector<float> errors(static_cast<size_t>(count * n));
    const float* w = weights.data() + first * n;
    grid.Decode(blocks + static_cast<uint64_t>(first) * grid.RowBytes(n), count * n, errors.data());
    for (size_t i = 0; i < errors.size(); ++i) errors[i] = w[i] - errors[i];
    double error = bilinear(errors.data(), errors.data(), count, gram.data(), n);
    if (share != 0) error += 2 * share * bilinear(w, errors.data(), count, drift.data(), n);
    return error;
  });
}

double OutputPower(std::span<const float> weights, int64_t rows, std::span<const float> gram,
                   ThreadPool& pool) {
  const auto bilinear = HWY_DYNAMIC_DISPATCH(Bilinear);
  const auto n = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(gram.size()))));
  return SumOverRows(rows, pool, [&](int64_t first, int64_t count) {
    const float* w = weights.data() + first * n;
    return bilinear(w, w, count, gram.data(), n);
  });
}

}  // namespace halftone
#endif  // HWY_ONCE
