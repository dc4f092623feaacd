// bitsandbytes' double quantization: scales as codes of 8 bits.
//
//   offset    the mean of a tensor's scales
//   absmax    the largest |scale - offset| of each 256 scales, in the order of the rows
//   code      of the level (grid/dynamic_levels.h) nearest to (scale - offset) / absmax, the lower
//             of two equally near
//   scale     level[code] * absmax + offset
//
// Scales are counted over the whole tensor, so that this belongs to no block and no row.
//
// Sources: Dettmers et al. 2023, arXiv:2305.14314, section 3; bitsandbytes 0.50 (its mean is
// torch's sum in another order, which moves some codes by one).

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace halftone {

inline constexpr int64_t kNestedBlock = 256;

struct NestedScales {
  std::vector<uint8_t> codes;
  std::vector<float> absmax;  // for each 256
  float offset = 0;

  float Scale(size_t i) const;
};
NestedScales QuantizeScales(std::span<const float> scales);

}  // namespace halftone
