// Bf16Ops::multiply where the processor has AMX's tiles of bf16 numbers.

#pragma once

#include <cstdint>

namespace halftone {

using Bf16Multiply = void (*)(const uint16_t* a, int64_t a_row, int64_t tokens,
                              const uint32_t* block, int64_t depth, int64_t columns, bool add,
                              float* c, int64_t c_row);

// Asks the system for the tiles, once. Null where there are none.
Bf16Multiply FindAmxMultiply();

}  // namespace halftone
