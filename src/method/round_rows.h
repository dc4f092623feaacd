// Rounding row by row with the grid's own encoder: what rtn and imatrix share.

#pragma once

#include "method/method.h"

namespace halftone {

// Encodes each row with `importance` (cols values, or empty for none).
void RoundRows(std::span<const float> weights, int64_t rows, int64_t cols,
               std::span<const float> importance, const Grid& grid, ThreadPool& pool,
               uint8_t* blocks);

}  // namespace halftone
