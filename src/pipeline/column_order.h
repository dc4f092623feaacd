// Act-order: columns sorted by the power of what meets them, so that error feedback rounds those
// first that matter most (the `--act-order` of GPTQ's own code).

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "calibration/layerwise.h"

namespace halftone {

// The columns from the largest diagonal element of gram [n, n] to the smallest; equal ones in their
// order.
std::vector<int32_t> ByPower(std::span<const float> gram, int64_t n);

// Rows of values with the columns so ordered: position p holds column order[p].
std::vector<float> ColumnsInOrder(std::span<const float> values, std::span<const int32_t> order);

// Statistics of inputs that come in that order.
StageStatistics InOrder(const StageStatistics& statistics, std::span<const int32_t> order);

}  // namespace halftone
