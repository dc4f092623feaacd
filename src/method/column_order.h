// The order in which error feedback rounds columns: first those that what meets them makes matter
// most, as long as there are others left to make their errors good.
//
// An order names the column of each position. Any order changes which columns share a group, and a
// file has to keep it (GPTQ's act-order). One that moves groups and blocks as a whole changes only
// who is rounded first, and costs nothing (GPTQModel's group-aware reordering).

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "grid/grid.h"

namespace halftone {

// The columns from the largest diagonal element of gram [n, n] to the smallest; equal ones in their
// order.
std::vector<int32_t> ByPower(std::span<const float> gram, int64_t n);

// The same within the grid's groups and blocks: blocks by their power, within each its groups,
// within each its columns. `grid` must have a scalar face and n be a multiple of its block.
std::vector<int32_t> ByPowerOfGroups(std::span<const float> gram, int64_t n, const Grid& grid);

// Rows of values with the columns so ordered: position p holds column order[p].
std::vector<float> ColumnsInOrder(std::span<const float> values, std::span<const int32_t> order);

// A square matrix with rows and columns so ordered; an empty one stays empty.
std::vector<float> BothInOrder(std::span<const float> square, std::span<const int32_t> order,
                               ThreadPool& pool);

}  // namespace halftone
