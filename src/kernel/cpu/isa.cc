#include "kernel/cpu/isa.h"

#include <cstdlib>

#include "base/error.h"

namespace halftone {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "";
}

bool IsaAvailable(Isa isa) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return isa == Isa::kScalar;
#endif
}

Isa ChooseIsa() {
  const char* asked = std::getenv("HALFTONE_ISA");
  Isa best = Isa::kScalar;
  for (const Isa isa : kAll) {
    if (asked != nullptr && IsaName(isa) == asked) {
      if (!IsaAvailable(isa)) FailUsage("HALFTONE_ISA={}: this processor lacks it", asked);
      return isa;
    }
    if (IsaAvailable(isa)) best = isa;
  }
  if (asked != nullptr && *asked != 0) {
    FailUsage("HALFTONE_ISA={}: expected scalar, avx2 or avx512", asked);
  }
  return best;
}

}  // namespace halftone
