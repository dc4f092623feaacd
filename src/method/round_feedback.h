// Rounding by a Gram matrix, and what is done where that cannot be.

#pragma once

#include <span>
#include <vector>

#include "method/method.h"

namespace halftone {

// RoundWithFeedback with a damping of 1 % of the mean diagonal, more where the matrix is not
// positive definite. Where there are no statistics, the grid has no scalar face or no damping
// helps, rounds as by imatrix (or rtn, without importances) and says so in the note.
Rounding RoundByGram(std::span<const float> weights, int64_t rows, int64_t cols,
                     const Statistics& statistics, float drift_share, const Grid& grid,
                     ThreadPool& pool, uint8_t* blocks);

// The mean squares to weigh errors with: those given, or the diagonal of the Gram matrix.
std::vector<float> Importances(const Statistics& statistics, int64_t cols);

}  // namespace halftone
