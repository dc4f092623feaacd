// Kernels of the grids that are made of parameters (grid/grouped.h).

#include "grid/grouped.h"

#include "kernel/cpu/decode.h"

#if defined(__x86_64__) && __has_include("kernel/cpu/fast/groups.h")
#include "kernel/cpu/fast/group_decode.h"
#include "kernel/cpu/fast/groups.h"
#define HT_GROUPS 1
#endif

namespace halftone {
namespace {

void Decode(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights) {
  grid.Decode(blocks, n, weights);
}

}  // namespace

GridKernels GroupedKernels(const Grid& grid, Isa isa) {
  GridKernels kernels{&Decode, nullptr, {}};
#if defined(HT_GROUPS)
  if (isa != Isa::kScalar && grid.grouped->bits == 4 && grid.block % 32 == 0) {
    kernels.decode = &DecodeSixteenLevels;
  }
  if (isa == Isa::kAvx2) kernels.rounded = RoundedOfGroups(grid);
#endif
  if (isa == Isa::kAvx512) kernels.rounded = GroupedRounded(grid);
  return kernels;
}

}  // namespace halftone
