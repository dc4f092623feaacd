// Spending bytes: one option for each item, the sum of costs as small as it gets within a budget.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace halftone {

struct AllocationOption {
  uint64_t bytes = 0;
  double cost = 0;
};

// The index of the option chosen for each item, so that their bytes are at most `budget`; none if
// not even the smallest fit. Every item must have an option.
//
// From the smallest options on, the step is taken that saves most cost for its bytes and fits,
// until none does: optimal at the budgets where a step of the items' lower convex hulls ends, and
// off by less than one step of one item elsewhere.
std::optional<std::vector<size_t>> Allocate(const std::vector<std::vector<AllocationOption>>& items,
                                            uint64_t budget);

}  // namespace halftone
