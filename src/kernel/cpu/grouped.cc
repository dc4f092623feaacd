// Kernels of the grids that are made of parameters (grid/grouped.h).

#include "grid/grouped.h"

#include "kernel/cpu/decode.h"

#if defined(__x86_64__) && __has_include("kernel/cpu/fast/groups.h")
#include "kernel/cpu/fast/groups.h"
#define HT_GROUPS 1
#endif

namespace halftone {
namespace {

void Decode(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights) {
  grid.Decode(blocks, n, weights);
}

#if defined(HT_GROUPS)

template <class Kind>
RoundedKernels KernelsOf(Isa isa) {
  using Codes = CodesOfGroupedRows<Kind>;
  return isa == Isa::kAvx512 ? kRoundedVnni<Codes> : kRoundedAvx2<Codes>;
}

RoundedKernels Rounded(const Grid& grid, Isa isa) {
  const GroupedSpec& spec = *grid.grouped;
  if (isa == Isa::kScalar || grid.block % 32 != 0) return {};
  if (spec.levels == GroupedLevels::kInteger) {
    if (spec.bits == 4) {
      return spec.symmetric ? KernelsOf<FourBits>(isa) : KernelsOf<FourBitsWithZero>(isa);
    }
    if (spec.bits == 8) {
      return spec.symmetric ? KernelsOf<EightBits>(isa) : KernelsOf<EightBitsWithZero>(isa);
    }
    return {};
  }
  return spec.bits == 4 ? KernelsOf<Levels16>(isa) : RoundedKernels{};
}

#else

RoundedKernels Rounded(const Grid& /*grid*/, Isa /*isa*/) { return {}; }

#endif

}  // namespace

GridKernels GroupedKernels(const Grid& grid, Isa isa) {
  return {&Decode, nullptr, Rounded(grid, isa)};
}

}  // namespace halftone
