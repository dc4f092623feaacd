// 64 bits mixed: each bit of the result hangs on all of the argument (the last step of SplitMix64,
// Steele, Lea and Flood 2014). Numbers in a row become numbers without an order.

#pragma once

#include <cstdint>

namespace halftone {

constexpr uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace halftone
