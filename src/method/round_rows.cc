#include "method/round_rows.h"

#include <algorithm>

#include "base/error.h"

namespace halftone {

void RoundRows(std::span<const float> weights, int64_t rows, int64_t cols,
               std::span<const float> importance, const Grid& grid, ThreadPool& pool,
               uint8_t* blocks) {
  if (!grid.writable()) {
    FailUnsupported("grid '{}' can be read but not written", grid.name);
  }
  if (importance.empty() && grid.importance == Importance::kRequired) {
    FailUsage("grid '{}' needs importances: give --imatrix or --calibration", grid.name);
  }
  // A piece is large enough that handing it out costs nothing against rounding it.
  const int64_t step = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, cols));
  const uint64_t row_bytes = grid.RowBytes(cols);
  pool.For((rows + step - 1) / step, [&](int64_t piece, int) {
    const int64_t end = std::min(rows, (piece + 1) * step);
    for (int64_t r = piece * step; r < end; ++r) {
      grid.Encode(weights.data() + r * cols, cols, importance.empty() ? nullptr : importance.data(),
                  blocks + static_cast<uint64_t>(r) * row_bytes);
    }
  });
}

}  // namespace halftone
