// Which instruction set the CPU kernels use.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace halftone {

enum class Isa : uint8_t {
  kScalar,  // the compiler's baseline; NEON on 64-bit Arm
  kAvx2,    // AVX2, FMA, F16C
  kAvx512,  // AVX-512 F, BW, DQ, VL
};

// Those that this program has kernels for, kScalar first: all on x86, elsewhere the baseline.
std::span<const Isa> BuiltIsas();

// Whether this processor can run it.
bool IsaAvailable(Isa isa);

// The best of them that this processor has, or the one that HALFTONE_ISA names. Throws Error
// (kUsage) if the variable names an unknown set or one that this processor lacks.
Isa ChooseIsa();

// scalar, avx2, avx512; the baseline of 64-bit Arm is called neon.
std::string_view IsaName(Isa isa);

}  // namespace halftone
