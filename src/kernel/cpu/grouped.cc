// Kernels of the grids that are made of parameters (grid/grouped.h).

#include "kernel/cpu/decode.h"

namespace halftone {
namespace {

void Decode(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights) {
  grid.Decode(blocks, n, weights);
}

constexpr GridKernels kGeneric = {&Decode, nullptr, {}};

}  // namespace

const GridKernels& GroupedKernels(Isa /*isa*/) { return kGeneric; }

}  // namespace halftone
