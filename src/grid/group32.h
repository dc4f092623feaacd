// Rounding 32 weights to evenly spaced levels with one scale, or one scale and one minimum:
//   symmetric    weight = scale * (code - levels), code 0 .. 2 * levels - 1
//   with minimum weight = scale * code + minimum,  code 0 .. levels
//
// Two ways each: at once from the largest weights, or, where importances say which errors matter,
// by a search (scale_search.h) in which the error of weight w of a row counts
//   importance * sqrt(mean square of the row + w^2).
// Source: ggml's reference encoders of its 32-weight types.

#pragma once

#include <cstdint>

#include "grid/rounding.h"
#include "grid/scalar.h"

namespace halftone {

struct Group32 {
  float scale, minimum;
  uint8_t codes[32];
};

inline Group32 ToGroup32(const BlockParameters& parameters, const uint8_t* codes) {
  Group32 group{.scale = parameters.unit, .minimum = parameters.shift_unit, .codes = {}};
  std::copy(codes, codes + 32, group.codes);
  return group;
}

// code = trunc(w * (1/scale) + half), 0 .. top. Where 1/scale overflows all codes are 0, as ggml's.
inline Group32 RoundGroup32(const float* weights, float scale, float half, int top) {
  Group32 group{.scale = scale, .minimum = 0, .codes = {}};
  const float inverse = InverseOrNan(scale);
  for (int e = 0; e < 32; ++e) {
    group.codes[e] = static_cast<uint8_t>(TruncateTo(weights[e] * inverse + half, top));
  }
  return group;
}

// From the smallest weight, code 0, to the largest, code `top`.
inline Group32 RoundGroup32FromMinimum(const float* weights, int top) {
  const Range range = RangeOf<32>(weights);
  Group32 group{.scale = (range.high - range.low) / static_cast<float>(top),
                .minimum = range.low,
                .codes = {}};
  const float inverse = InverseOrNan(group.scale);
  for (int e = 0; e < 32; ++e) {
    const float level = (weights[e] - range.low) * inverse + 0.5f;
    group.codes[e] = static_cast<uint8_t>(TruncateTo(level, top));
  }
  return group;
}

// How a block of a grid is written.
using PackGroup32 = void (*)(const Group32& group, uint8_t* block);

// Rounds a row of n weights with importances; block after block is packed into `block_bytes` each.
void SearchSymmetric32(int levels, const float* w, int64_t n, const float* importance,
                       uint8_t* blocks, int block_bytes, PackGroup32 pack);
void SearchAffine32(int levels, const float* w, int64_t n, const float* importance, uint8_t* blocks,
                    int block_bytes, PackGroup32 pack);

}  // namespace halftone
