// The error of a linear layer that its weights' rounding causes.

#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "grid/grid.h"

namespace halftone {

// The mean over tokens of |W x0' - Q x|^2, x0' = x + share * (x0 - x), less what does not depend on
// Q:  tr(E G E^T) + 2 share tr(W C E^T),  E = W - Q, G = E[x x^T], C = E[(x0 - x) x^T].
//
// weights: [rows, n]; blocks: Q on the grid; gram: [n, n]; drift: [n, n] or empty for share 0.
double OutputError(std::span<const float> weights, int64_t rows, const Grid& grid,
                   const uint8_t* blocks, std::span<const float> gram, std::span<const float> drift,
                   float share, ThreadPool& pool);

// tr(W G W^T): what the error is a part of.
double OutputPower(std::span<const float> weights, int64_t rows, std::span<const float> gram,
                   ThreadPool& pool);

}  // namespace halftone
