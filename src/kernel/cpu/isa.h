// Which instruction set the CPU kernels use.

#pragma once

#include <cstdint>
#include <string_view>

namespace halftone {

enum class Isa : uint8_t {
  kScalar,  // the compiler's baseline
  kAvx2,    // AVX2, FMA, F16C
  kAvx512,  // AVX-512 F, BW, DQ, VL
};

// The best that this processor has, or what HALFTONE_ISA=scalar|avx2|avx512 asks for. Throws Error
// (kUsage) if the variable names an unknown set or one that this processor lacks.
Isa ChooseIsa();

std::string_view IsaName(Isa isa);

// All that this processor can run, kScalar first.
bool IsaAvailable(Isa isa);

}  // namespace halftone
