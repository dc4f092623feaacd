// Tensors made of others without copying them: some rows of one, several of one shape one above the
// other, one with a number added. What is not in memory as it is needed is put together when it is
// read (Loaded in tensor/tensor.h).

#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace halftone {

// Rows [first, first + rows) as a tensor of that name and shape [rows, cols], or [cols] where the
// tensor is a vector: elements then. `rows` may be smaller than what the tensor has, not larger.
Tensor RowsOf(const Tensor& tensor, std::string name, int64_t first, int64_t rows);

// [count, rows, cols] of `parts`, which have one shape [rows, cols], one grid, and no order.
Tensor Stacked(std::string name, const std::vector<Tensor>& parts);

// The tensor's values plus `offset`, in f32.
Tensor Shifted(const Tensor& tensor, float offset);

}  // namespace halftone
