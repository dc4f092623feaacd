// Rounding rows of weights onto a grid with error feedback, the choice of each group's parameters
// being part of the feedback rather than before it.
//
// A strip of rows (one in each SIMD lane) is rounded group by group from the left:
//
//   1. targets: weight + what the columns before have left to make good (factor.h)
//   2. fit: the step and shift that round the targets best, the error of column j counting D[j]
//   3. search: the steps and shifts around it that the grid can store; for each the group is
//      rounded with feedback inside it, and the one whose D-weighted error is least is kept
//   4. its errors become part of the targets of the columns that follow
//
// Where the groups of a block share a unit (K-quants), a whole block is rounded so for each of
// several units, and the best block is kept. Last, `sweeps` passes of coordinate descent move
// single codes to where the exact quadratic error, all other codes given, is least.
//
// The result depends neither on the number of threads nor on the instruction set's width.

#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "grid/grid.h"
#include "method/factor.h"

namespace halftone {

struct FeedbackProblem {
  std::span<const float> weights;  // [rows, n]
  int64_t rows = 0;
  const Factor* factor = nullptr;  // of the damped Gram matrix
  std::span<const float> gram;     // [n, n], the same matrix
  // [n, n] or empty: the mean of (x0 - x) x^T, x0 being what the original model feeds in where the
  // rounded one feeds x. The weights that make good the share `drift_share` of the difference are
  //   target = weights + drift_share * weights drift H^-1.
  std::span<const float> drift;
  float drift_share = 0;
  // Empty, or the column of each position, groups and blocks moved as a whole
  // (column_order.h): all of the above come in positions, and the blocks are written in columns.
  std::span<const int32_t> order = {};
};

struct FeedbackOptions {
  int units = 5;   // units tried for a block whose groups share one
  int sweeps = 2;  // of coordinate descent
};

// Writes rows of blocks. `grid` must have a scalar face, and n be a multiple of its block.
void RoundWithFeedback(const FeedbackProblem& problem, const Grid& grid,
                       const FeedbackOptions& options, ThreadPool& pool, uint8_t* blocks);

}  // namespace halftone
