// Decoding rows of any grid with the instructions at hand.

#pragma once

#include <array>
#include <cstdint>

#include "grid/grid.h"
#include "kernel/cpu/isa.h"
#include "kernel/cpu/rounded.h"

namespace halftone {

// Equal to grid.decode in every bit (but for the payload of a NaN).
using DecodeFunction = void (*)(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights);

// y[r] = sum_i x[i] * w[r, i] of `count` rows of `cols` weights, row_bytes apart: what decoding and
// VectorOps::dot_panel give, in every bit, without the decoded weights touching memory.
using DotRowsFunction = void (*)(const Grid& grid, const uint8_t* rows, int64_t row_bytes,
                                 int64_t count, const float* x, int64_t cols, float* y);

struct GridKernels {
  DecodeFunction decode = nullptr;
  DotRowsFunction dot_rows = nullptr;  // null where the grid has no fast kernel
  RoundedKernels rounded;
};

// By Isa.
using GridKernelTable = std::array<GridKernels, 3>;

GridKernels KernelsFor(const Grid& grid, Isa isa);

// Those of a grid of grid/grouped.h.
GridKernels GroupedKernels(const Grid& grid, Isa isa);
// Of those, the products with rounded activations on AVX-512 VNNI.
RoundedKernels GroupedRounded(const Grid& grid);

}  // namespace halftone
