// bitsandbytes' 8-bit levels with a dynamic exponent, ascending:
//
//   signed     for i = 0..6 the midpoints of 2^i intervals of [0.1, 1], times 10^(i - 6), with both
//              signs; 0; 1
//   unsigned   the same with 2^(i+1) intervals and no negative ones
//
// Sources: Dettmers 2015, arXiv:1511.04561; bitsandbytes 0.50 (create_dynamic_map).

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace halftone {

using Levels256 = std::array<float, 256>;

const Levels256& DynamicLevels();
const Levels256& UnsignedDynamicLevels();

// The code of the level nearest to x, of two equally near ones the lower; 0 for a NaN.
inline uint8_t NearestCode(const Levels256& levels, float x) {
  auto code = static_cast<size_t>(std::ranges::lower_bound(levels, x) - levels.begin());
  code = std::min(code, levels.size() - 1);
  if (code > 0 && x - levels[code - 1] <= levels[code] - x) --code;
  return static_cast<uint8_t>(code);
}

}  // namespace halftone
