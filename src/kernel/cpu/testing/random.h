// Normally distributed numbers for the kernels' tests, the same for a seed.

#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace halftone {

using Floats = std::vector<float>;

inline Floats Random(int64_t n, uint32_t seed, float deviation = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  Floats values(static_cast<size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}

}  // namespace halftone
