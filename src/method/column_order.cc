#include "method/column_order.h"

#include <algorithm>
#include <numeric>

namespace halftone {
namespace {

// What is no number counts as nothing, so that comparing stays an order.
double Power(std::span<const float> gram, int64_t n, int64_t column) {
  const float power = gram[column * n + column];
  return power > 0 ? power : 0.0;
}

// Sorts stretches of `size` positions by their power, each moved as a whole.
void SortStretches(std::span<int32_t> order, int64_t size, std::span<const float> gram, int64_t n) {
  const auto count = std::ssize(order) / size;
  std::vector<double> power(static_cast<size_t>(count));
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t e = 0; e < size; ++e) power[s] += Power(gram, n, order[s * size + e]);
  }
  std::vector<int64_t> sorted(static_cast<size_t>(count));
  std::iota(sorted.begin(), sorted.end(), 0);
  std::ranges::stable_sort(sorted, [&](int64_t a, int64_t b) { return power[a] > power[b]; });
  const std::vector<int32_t> before(order.begin(), order.end());
  for (int64_t s = 0; s < count; ++s) {
    std::copy_n(before.begin() + sorted[s] * size, size, order.begin() + s * size);
  }
}

}  // namespace

std::vector<int32_t> ByPower(std::span<const float> gram, int64_t n) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  SortStretches(order, 1, gram, n);
  return order;
}

std::vector<int32_t> ByPowerOfGroups(std::span<const float> gram, int64_t n, const Grid& grid) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const int64_t group = grid.scalar->group, block = grid.block;
  for (int64_t at = 0; at < n; at += group) {
    SortStretches(std::span(order).subspan(at, group), 1, gram, n);
  }
  for (int64_t at = 0; at < n; at += block) {
    SortStretches(std::span(order).subspan(at, block), group, gram, n);
  }
  SortStretches(order, block, gram, n);
  return order;
}

std::vector<float> ColumnsInOrder(std::span<const float> values, std::span<const int32_t> order) {
  const size_t n = order.size();
  std::vector<float> sorted(values.size());
  for (size_t at = 0; at < values.size(); at += n) {
    for (size_t p = 0; p < n; ++p) sorted[at + p] = values[at + order[p]];
  }
  return sorted;
}

std::vector<float> BothInOrder(std::span<const float> square, std::span<const int32_t> order,
                               ThreadPool& pool) {
  if (square.empty()) return {};
  const size_t n = order.size();
  std::vector<float> sorted(n * n);
  pool.For(std::ssize(order), [&](int64_t i, int) {
    for (size_t j = 0; j < n; ++j) sorted[i * n + j] = square[order[i] * n + order[j]];
  });
  return sorted;
}

}  // namespace halftone
