#include "kernel/cpu/decode.h"

#include <algorithm>

namespace halftone {

#define HT_GRID(file, Struct)                   \
  extern const GridKernelTable kKernels_##file; \
  extern const RoundedKernels kRounded_##file;
#include "grid/grids.def"
#undef HT_GRID

namespace {

// In the order of grids.def, as AllGrids().
constexpr const GridKernelTable* kTables[] = {
#define HT_GRID(file, Struct) &kKernels_##file,
#include "grid/grids.def"
#undef HT_GRID
};

// With AVX-512 VNNI.
constexpr const RoundedKernels* kRounded[] = {
#define HT_GRID(file, Struct) &kRounded_##file,
#include "grid/grids.def"
#undef HT_GRID
};

}  // namespace

GridKernels KernelsFor(const Grid& grid, Isa isa) {
  const auto grids = AllGrids();
  const auto index = std::ranges::find(grids, &grid) - grids.begin();
  if (index == std::ssize(grids)) return GroupedKernels(grid, isa);
  GridKernels kernels = (*kTables[index])[static_cast<size_t>(isa)];
  if (isa == Isa::kAvx512) kernels.rounded = *kRounded[index];
  return kernels;
}

}  // namespace halftone
