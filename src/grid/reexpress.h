// The same numbers on another grid, without rounding: what a change of container needs.
//
// Blocks that are one group of integer levels and can be unpacked (ScalarGrid::unpack) mean
//   weight e = step * level[e] + shift
// and another such grid can say the same where its own step holds this step exactly and its own
// codes reach these levels:
//   groups   a group becomes several of the same step; several of the same step become one
//   zeros    level = code - zero: any zero will do that puts all codes of the group into range, the
//            source's own where it has one
//   shift    none, or a multiple of the step, moves the levels; a shift of its own must hold it
// Plain grids take whatever they decode again to the bit.
//
// Which of it holds is a matter of properties for some pairs of grids and of the data for others.
// Codes and scales are carried over as they are: a step may be negative even where an encoder of
// the target never makes one. What readers do after the multiplication is theirs: GPTQ rounds
// products to f16, ggml keeps them in f32, so that the same codes and scales may decode to floats
// that differ by this last rounding.

#pragma once

#include <cstdint>

#include "grid/grid.h"

namespace halftone {

// Whether rows of `cols` weights on `from` may be expressed on `to` at all, by the grids'
// properties alone.
bool MayReexpress(const Grid& from, const Grid& to, int64_t cols);

// Writes a row of n weights on `from`, n a multiple of both blocks, as the same numbers on `to`.
// False where these data have no such form; `out`, to.RowBytes(n), then holds anything. Only where
// MayReexpress.
bool Reexpress(const Grid& from, const Grid& to, const uint8_t* row, int64_t n, uint8_t* out);

}  // namespace halftone
