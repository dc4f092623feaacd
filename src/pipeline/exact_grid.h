// For a tensor whose grid a container cannot store: a grid that it can store and that says the very
// same numbers (grid/reexpress.h), if the tensor's data have one.

#pragma once

#include <cstdint>
#include <functional>

#include "base/thread_pool.h"
#include "container/container.h"
#include "tensor/tensor.h"

namespace halftone {

// Whether a grid is to be tried.
using GridFilter = std::function<bool(const Grid&)>;

// The grid of fewest bits that the container can store, `allowed` admits and all rows of the tensor
// can be re-expressed on; null where there is none. The tensor must have its data. Where its
// columns are in an order of their own only plain grids will do.
const Grid* ExactGrid(const Container& container, const Tensor& tensor, const GridFilter& allowed,
                      ThreadPool& pool);

// Whether all rows can be re-expressed on `to`.
bool HoldsExactly(const Tensor& tensor, const Grid& to, ThreadPool& pool);

// The grid with the same parameters but groups of `group` weights.
const Grid& WithGroup(const Grid& grid, int group, int64_t cols);

}  // namespace halftone
