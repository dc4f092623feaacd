// Decoding rows of any grid with the instructions at hand.

#pragma once

#include <array>
#include <cstdint>

#include "grid/grid.h"
#include "kernel/cpu/isa.h"

namespace halftone {

using DecodeFunction = void (*)(const uint8_t* blocks, int64_t n, float* weights);

// By Isa.
using DecodeTable = std::array<DecodeFunction, 3>;

// Equal to grid.decode in every bit, compiled for `isa`.
DecodeFunction DecoderFor(const Grid& grid, Isa isa);

}  // namespace halftone
