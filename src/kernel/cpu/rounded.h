// Products with activations rounded to 8 bits: sums of integers, as llama.cpp computes them too.
//
// A token's columns are taken 256 at a time, in groups of 32. A group is large where its largest
// magnitude is above kLarge times the root mean square of the token, or above kLargeBeside times
// that of the fourth smallest of the eight groups, if that is not 0. With m the largest magnitude
// of the groups that are not large, M of all,
//   s    = max(m / 127, M / 16256)
//   q[i] = x[i] / s rounded to the nearest integer, ties to even                (0 where s is 0)
//   y[o] = sum over blocks of s * sum_i q[i] * w[o, i]
// q takes 8 bits in ordinary groups and 15 in large ones, where it is multiplied in two parts. The
// few groups with a much larger value than others would lose all their small ones if 8 bits had to
// do, and if theirs was the scale of all, the others would, too (docs/performance.md).
// Here w is what the grid decodes, but for the last rounding that some grids of grid/grouped.h give
// a decoded weight (to f16 or bf16). Weights enter as their integer levels: the inner sum of a
// group of theirs (16 or 32 columns) is exact, and multiplied by the group's step in f32; what a
// grid takes off (its minimum, or the middle of its levels) multiplies the sum of q alone.
//
// Two ways lead to y. For one token, `dot` reads rows as they lie, columns along the lanes. For
// more, `unpack` turns 64 rows of one stretch of 256 columns into a Panel, rows along the lanes, by
// which `multiply` multiplies all tokens, and the next stretch adds to that. They add groups up in
// different orders: a token alone may differ from itself in a batch in the last bits. Neither
// depends on the number of threads or rows.

#pragma once

#include <cstdint>

#include "grid/grid.h"
#include "kernel/cpu/isa.h"

namespace halftone {

// Normal values rarely exceed 4 in a row.
inline constexpr float kLarge = 5;
inline constexpr float kLargeBeside = 2;

// 256 columns of a token. Columns beyond the row's end are zeros.
struct alignas(64) RoundedBlock {
  int8_t codes[256];  // c = q, or q - 128 * h of large groups, from -64 to 63
  int32_t total[8];   // the sum of q of each 32 columns
  int32_t total16[16];
  float sum[8];  // s * total
  float sum16[16];
  float scale;                   // s; NaN in all blocks of a token with a value that is not finite
  uint32_t large;                // bit g: group g is large
  alignas(64) int8_t high[256];  // h; 0 where groups are not large
};
inline constexpr int64_t kRoundedColumns = 256;

constexpr int64_t RoundedBlocks(int64_t cols) {
  return (cols + kRoundedColumns - 1) / kRoundedColumns;
}

// 64 rows of one stretch.
struct alignas(64) Panel {
  static constexpr int64_t kRows = 64;

  // Word k, of columns 4k to 4k + 3, of row r at [(k * kRows + r) * 4]: levels plus the form's
  // offset.
  uint8_t codes[kRoundedColumns * kRows];
  float step[16 * kRows];     // [group, row]
  float minimum[16 * kRows];  // [group, row]; where the grid has minima
  // Where rows wait to be turned.
  alignas(64) uint8_t rows[16 * kRoundedColumns];
  float row_steps[16 * 16], row_minima[16 * 16];
};

// How the levels of a grid lie in a panel.
struct PanelForm {
  int group = 32;  // columns that share a step: 16 or 32
  int offset = 0;  // what codes are above their levels
  bool minima = false;
  bool wide = false;  // codes need all 8 bits; without an offset they are signed
  int largest = 15;   // code, where they are not wide
};

// The kernels of one grid on one instruction set; null functions where it has none.
struct RoundedKernels {
  PanelForm form;

  // y[r] = one token's products with `count` rows, row_bytes apart. x: the token's blocks.
  void (*dot)(const Grid& grid, const uint8_t* rows, int64_t row_bytes, int64_t count,
              const RoundedBlock* x, int64_t cols, float* y) = nullptr;

  // Fills the panel with columns [256 * stretch, 256 * stretch + 256) of `count` <= 64 rows;
  // what lies beyond the rows' end has zero steps, as have rows beyond `count`.
  void (*unpack)(const Grid& grid, const uint8_t* rows, int64_t row_bytes, int64_t count,
                 int64_t stretch, int64_t cols, Panel& panel) = nullptr;
};

struct RoundedOps {
  // Rounds x [cols] to RoundedBlocks(cols) blocks, `stride` blocks apart.
  void (*round)(const float* x, int64_t cols, RoundedBlock* blocks, int64_t stride);

  // sums[t, r] += the products of the panel's first `columns` columns with `tokens` tokens, whose
  // blocks lie one after another; sums: [tokens, Panel::kRows], aligned to 64 bytes. `first`: as if
  // sums were zero before.
  void (*multiply)(const Panel& panel, const PanelForm& form, int64_t columns,
                   const RoundedBlock* x, int64_t tokens, bool first, float* sums);
};

// Whether this processor has the integer products that the kernels of `isa` are made of. Where not,
// there is no RoundedOps for it.
bool HasRoundedOps(Isa isa);
const RoundedOps& RoundedOpsFor(Isa isa);

}  // namespace halftone
