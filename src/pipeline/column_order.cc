#include "pipeline/column_order.h"

#include <algorithm>
#include <numeric>

namespace halftone {
namespace {

std::vector<float> BothWays(std::span<const float> square, std::span<const int32_t> order) {
  if (square.empty()) return {};
  const size_t n = order.size();
  std::vector<float> sorted(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) sorted[i * n + j] = square[order[i] * n + order[j]];
  }
  return sorted;
}

}  // namespace

std::vector<int32_t> ByPower(std::span<const float> gram, int64_t n) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  // What is no number counts as nothing, so that the comparison stays an order.
  const auto power = [&](int32_t i) {
    const float p = gram[i * n + i];
    return p > 0 ? p : 0.0f;
  };
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return power(a) > power(b); });
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

StageStatistics InOrder(const StageStatistics& statistics, std::span<const int32_t> order) {
  StageStatistics sorted;
  sorted.gram = BothWays(statistics.gram, order);
  sorted.drift = BothWays(statistics.drift, order);
  sorted.held_gram = BothWays(statistics.held_gram, order);
  sorted.held_drift = BothWays(statistics.held_drift, order);
  sorted.tokens = statistics.tokens;
  return sorted;
}

}  // namespace halftone
