// best: what measured best. Error feedback with the scale search inside it, as gptq, but the target
// of a layer also makes good half of what the layers before it have changed in its inputs, and a
// tensor keeps that result only if it is better than a plain importance-weighted rounding on tokens
// that took no part: a bad Gram matrix never loses to round to nearest.
//
// The target that makes all of the difference good is Qronos' and GPTAQ's (Zhang et al. 2025,
// arXiv:2505.11695; Li et al. 2025, arXiv:2504.02692). It overcorrects: what a layer's inputs lack
// is then paid for in its own weights' distance from the original. docs/quality.md has the figures.

#include <vector>

#include "method/gram_error.h"
#include "method/round_feedback.h"
#include "method/round_rows.h"

namespace halftone {
namespace {

constexpr float kDriftShare = 0.5f;

Rounding Round(std::span<const float> weights, int64_t rows, int64_t cols,
               const Statistics& statistics, const Grid& grid, ThreadPool& pool, uint8_t* blocks) {
  Rounding rounding = RoundByGram(weights, rows, cols, statistics, kDriftShare, grid, pool, blocks);
  if (rounding.damping == 0 || statistics.held_gram.empty()) return rounding;
  const float share = statistics.held_drift.empty() ? 0 : kDriftShare;
  const auto error = [&](const uint8_t* q) {
    return OutputError(weights, rows, grid, q, statistics.held_gram, statistics.held_drift, share,
                       pool);
  };
  std::vector<uint8_t> plain(static_cast<uint64_t>(rows) * grid.RowBytes(cols));
  RoundRows(weights, rows, cols, Importances(statistics, cols), grid, pool, plain.data());
  if (error(plain.data()) < error(blocks)) {
    std::copy(plain.begin(), plain.end(), blocks);
    rounding.note = "error feedback did worse on held-out tokens; importances alone";
  }
  return rounding;
}

}  // namespace

extern const Method kMethod_best;
constinit const Method kMethod_best{
    "best", "error feedback that also makes good the layers before, checked on held-out tokens",
    Needs::kDrift, &Round};

}  // namespace halftone
