// The 4-bit float of the microscaling formats: a sign bit, 2 exponent bits, 1 fraction bit.
//
// ggml keeps the levels doubled, as integers, and halves the scale instead; a value is then one
// product of an integer and a scale, whatever the scale. Its code 8, minus zero, decodes to plus
// zero.

#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace halftone {

inline constexpr std::array<float, 16> kE2m1 = {0, 0.5,  1,  1.5,  2,  3,  4,  6,
                                                0, -0.5, -1, -1.5, -2, -3, -4, -6};
inline constexpr std::array<float, 16> kTwiceE2m1 = {0, 1,  2,  3,  4,  6,  8,  12,
                                                     0, -1, -2, -3, -4, -6, -8, -12};

// codes[e] = the level nearest to weights[e], e < N, the first of several equally near:
// ggml's order of operations is |level * half_scale - weight|.
template <int N>
inline void RoundToE2m1(const float* weights, float half_scale, uint8_t* codes) {
  float nearest[N];
  int32_t code[N] = {};
#pragma GCC unroll 1
  for (int e = 0; e < N; ++e) nearest[e] = std::fabs(kTwiceE2m1[0] * half_scale - weights[e]);
  for (int k = 1; k < 16; ++k) {
    const float level = kTwiceE2m1[k] * half_scale;
#pragma GCC unroll 1
    for (int e = 0; e < N; ++e) {
      const float distance = std::fabs(level - weights[e]);
      code[e] = distance < nearest[e] ? k : code[e];
      nearest[e] = distance < nearest[e] ? distance : nearest[e];
    }
  }
  for (int e = 0; e < N; ++e) codes[e] = static_cast<uint8_t>(code[e]);
}

}  // namespace halftone
