// Searches for the scale with which a group of weights loses least when each is rounded to one of
// 16 unevenly spaced levels, and rounds to such levels.
//
// All candidate scales of a group are tried side by side, one in each SIMD lane, so that every one
// sees exactly the float operations of a sequential search, in its order: no fused multiply-add, no
// reassociated sum. The order is that of ggml's reference (ggml-quants.c,
// quantize_row_iq4_nl_impl), because the grids promise bytes equal to ggml's.

#pragma once

#include <array>
#include <cstdint>

namespace halftone {

// The levels, ascending small integers, and what the search derives from them.
struct Levels16 {
  std::array<float, 16> level;
  // Level i + 1 is nearer than level i from midpoint[i] on, so a value's code is the number of
  // midpoints that do not exceed it: exact, since midpoints of integers are.
  std::array<float, 15> midpoint;
  std::array<float, 15> step;  // level[i + 1] - level[i]

  static constexpr Levels16 Of(const std::array<float, 16>& level) {
    Levels16 levels{level, {}, {}};
    for (int i = 0; i < 15; ++i) {
      levels.midpoint[i] = (level[i] + level[i + 1]) / 2;
      levels.step[i] = level[i + 1] - level[i];
    }
    return levels;
  }
};

inline constexpr int kCodebookGroup = 32;

// scales[g]: the best of 16 scales for weights x[32 * g ...], g < count; 0 for a group of (nearly)
// zeros. The error of a weight x counts x^2, or importance * sqrt(variance[g] + x^2) where
// importance is given.
void FitCodebook(const Levels16& levels, const float* x, const float* importance,
                 const float* variance, int count, float* scales);

// codes[i] = the level nearest to x[i] * inverse[i / 32], i < 32 * count; NaN gives 15.
void RoundToCodebook(const Levels16& levels, const float* x, const float* inverse, int count,
                     uint8_t* codes);

}  // namespace halftone
