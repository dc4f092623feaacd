// clip: round to nearest after the largest weights of each block are cut down, as far as that
// lessens the error of the layer's output: the second half of AWQ (Lin et al. 2023,
// arXiv:2306.00978).
//
// For each block of a row the weights are limited to 100, 95 ... 50 % of their largest magnitude
// and rounded; the limit is kept for which tr(e G e^T) is least, e being the block's errors and G
// the Gram matrix of its own inputs.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "method/round_feedback.h"
#include "method/round_rows.h"

namespace halftone {
namespace {

constexpr int kSteps = 10;
constexpr float kStep = 0.05f;

// e^T G e for a block of a row whose first column is `first`.
double BlockError(std::span<const float> errors, int64_t first, std::span<const float> gram,
                  int64_t n) {
  double total = 0;
  const auto size = static_cast<int64_t>(errors.size());
  for (int64_t i = 0; i < size; ++i) {
    const float* row = gram.data() + (first + i) * n + first;
    double dot = 0;
    for (int64_t j = 0; j < size; ++j) dot += static_cast<double>(row[j]) * errors[j];
    total += errors[i] * dot;
  }
  return total;
}

void ClipRow(std::span<const float> row, const Grid& grid, std::span<const float> gram,
             const float* importance, uint8_t* blocks) {
  const auto n = static_cast<int64_t>(row.size());
  const int block = grid.block;
  std::vector<float> limited(row.size()), back(row.size());
  std::vector<uint8_t> rounded(grid.RowBytes(n));
  std::vector<double> least(row.size() / block, std::numeric_limits<double>::infinity());
  for (int step = 0; step <= kSteps; ++step) {
    const float share = 1 - kStep * static_cast<float>(step);
    for (int64_t at = 0; at < n; at += block) {
      float limit = 0;
      for (int e = 0; e < block; ++e) limit = std::max(limit, std::abs(row[at + e]));
      limit *= share;
      for (int e = 0; e < block; ++e) limited[at + e] = std::clamp(row[at + e], -limit, limit);
    }
    grid.Encode(limited.data(), n, importance, rounded.data());
    grid.Decode(rounded.data(), n, back.data());
    for (int64_t i = 0; i < n; ++i) back[i] = row[i] - back[i];
    for (int64_t b = 0; b < n / block; ++b) {
      const double error =
          BlockError(std::span(back).subspan(b * block, block), b * block, gram, n);
      if (!(error < least[b])) continue;
      least[b] = error;
      std::copy_n(rounded.data() + b * grid.bytes, grid.bytes, blocks + b * grid.bytes);
    }
  }
}

Rounding Round(std::span<const float> weights, int64_t rows, int64_t cols,
               const Statistics& statistics, const Grid& grid, ThreadPool& pool, uint8_t* blocks) {
  const std::vector<float> importance = Importances(statistics, cols);
  RoundRows(weights, rows, cols, importance, grid, pool, blocks);
  if (grid.plain) return {};
  if (statistics.gram.empty() || importance.empty()) {
    return {.damping = 0, .note = "no statistics of its inputs; not clipped"};
  }
  pool.For(rows, [&](int64_t r, int) {
    ClipRow(weights.subspan(r * cols, cols), grid, statistics.gram, importance.data(),
            blocks + static_cast<uint64_t>(r) * grid.RowBytes(cols));
  });
  return {};
}

}  // namespace

extern const Method kMethod_clip;
constinit const Method kMethod_clip{
    "clip", "round to nearest, the largest weights of each block cut down where that helps",
    Needs::kGram, &Round};

}  // namespace halftone
