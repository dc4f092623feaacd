// Weights moved together: the same codes and scales with other offsets.
//
// On grids whose groups have an offset of their own (ScalarGrid::shift) a number that is added to
// all weights of a group changes the offset alone. That is how an adapter whose A is the same for
// all inputs of a group goes into the weights without rounding them again (QA-LoRA, Xu et al. 2023,
// arXiv:2309.14717). What is rounded is the offset:
//   kOwn       to the format's f16
//   kMultiple  to a multiple of the block's unit, which is chosen anew for its groups; formats that
//              have it only subtract: a block in which an offset would be above 0 is encoded again,
//              if that is nearer to its weights.

#pragma once

#include <cstdint>
#include <span>

#include "grid/grid.h"

namespace halftone {

// The weights of a row that share an offset which can be moved; 0 where the grid has no such.
int64_t OffsetGroup(const Grid& grid);

// Writes the row of `n` weights with by[i] added to each weight of its group i, n / OffsetGroup of
// them; out, grid.RowBytes(n), may be the row itself. Only where OffsetGroup is not 0.
void MoveOffsets(const Grid& grid, const uint8_t* row, int64_t n, std::span<const float> by,
                 uint8_t* out);

}  // namespace halftone
