#include "kernel/cpu/isa.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace halftone {
namespace {

#if defined(__x86_64__)
constexpr Isa kBuilt[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};
#else
constexpr Isa kBuilt[] = {Isa::kScalar};
#endif

#if defined(__aarch64__)
constexpr std::string_view kBaselineName = "neon";
#else
constexpr std::string_view kBaselineName = "scalar";
#endif

}  // namespace

std::span<const Isa> BuiltIsas() { return kBuilt; }

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return kBaselineName;
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
  for (const Isa isa : kBuilt) {
    if (asked != nullptr && IsaName(isa) == asked) {
      if (!IsaAvailable(isa)) FailUsage("HALFTONE_ISA={}: this processor lacks it", asked);
      return isa;
    }
    if (IsaAvailable(isa)) best = isa;
  }
  if (asked != nullptr && *asked != 0) {
    std::string names;
    for (const Isa isa : kBuilt)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", IsaName(isa));
    FailUsage("HALFTONE_ISA={}: expected one of {}", asked, names);
  }
  return best;
}

}  // namespace halftone
