// What matrix products do with their inputs.

#pragma once

#include <cstdint>

namespace halftone {

enum class Activations : uint8_t {
  // Nothing: outputs are those of the decoded weights, and a token's do not depend on what else is
  // read with it.
  kF32,
  // Round them to 8 bits with a scale for each 32 where the weights' grid and the processor have
  // integer products for it: several times as fast. Elsewhere as kF32.
  kInt8,
  // Round them and the decoded weights to bf16, with sums in f32, where that is twice as fast (AMX,
  // AVX-512 BF16 of AMD). Elsewhere as kF32, and for single tokens everywhere.
  kBf16,
};

}  // namespace halftone
