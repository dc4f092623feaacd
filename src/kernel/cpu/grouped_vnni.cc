// Products of the grids of grid/grouped.h with rounded activations on AVX-512 VNNI.

#define HT_VNNI_UNIT 1

#include "kernel/cpu/decode.h"

#if defined(__x86_64__) && __has_include("kernel/cpu/fast/groups.h")
#include "kernel/cpu/fast/groups.h"
#define HT_GROUPS 1
#endif

namespace halftone {

RoundedKernels GroupedRounded([[maybe_unused]] const Grid& grid) {
#if defined(HT_GROUPS)
  return RoundedOfGroups(grid);
#else
  return {};
#endif
}

}  // namespace halftone
