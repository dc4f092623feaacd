// Whether all of some numbers are finite.

#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace halftone {

inline bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

}  // namespace halftone
