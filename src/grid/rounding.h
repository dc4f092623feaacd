// The few operations that ggml's reference encoders are made of, written so that they vectorize and
// give the same bits on every instruction set. All are defined for every input, infinities and NaN
// included.

#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/half.h"

namespace halftone {

// A scale as f16: never infinite and never NaN, weights too large for the format saturate.
inline uint16_t FiniteF16(float scale) {
  return F32ToF16(std::isnan(scale) ? 0.0f : std::clamp(scale, -65504.0f, 65504.0f));
}

// 1 / d, and 0 for 0. A d so small (below 2^-128) that 1 / d overflows gives NaN; see the users for
// what code that becomes. Such a d is 0 as f16, but the codes are part of the bytes.
inline float InverseOrNan(float d) {
  if (d == 0) return 0;
  const float inverse = 1.0f / d;
  return std::isinf(inverse) ? std::nanf("") : inverse;
}

// As InverseOrNan, but 0 where 1 / d overflows.
inline float InverseOrZero(float d) {
  const float inverse = 1.0f / d;
  return std::isinf(inverse) ? 0.0f : inverse;
}

// The largest magnitude of N weights. Compares bit patterns, which order as magnitudes do: integer
// maxima vectorize without -ffast-math.
template <int N>
inline float LargestMagnitude(const float* weights) {
  int32_t largest = 0;
  for (int e = 0; e < N; ++e) {
    largest = std::max(largest, std::bit_cast<int32_t>(weights[e]) & 0x7FFFFFFF);
  }
  return std::bit_cast<float>(largest);
}

// The first of N weights that has the largest magnitude; +0 if all are zero.
template <int N>
inline float FirstLargest(const float* weights) {
  const float largest = LargestMagnitude<N>(weights);
  if (largest == 0) return 0;
  int first = N - 1;
  for (int e = 0; e < N; ++e) {
    const int32_t magnitude = std::bit_cast<int32_t>(weights[e]) & 0x7FFFFFFF;
    first = std::min(first, magnitude == std::bit_cast<int32_t>(largest) ? e : N - 1);
  }
  return weights[first];
}

struct Range {
  float low, high;
};

// The smallest and the largest of N weights; the first of them where zeros of both signs are the
// smallest.
template <int N>
inline Range RangeOf(const float* weights) {
  // Bits of negative numbers flipped: integers that order as the floats do.
  const auto flip = [](int32_t bits) { return bits ^ ((bits >> 31) & 0x7FFFFFFF); };
  int32_t low = INT32_MAX, high = INT32_MIN;
  for (int e = 0; e < N; ++e) {
    const int32_t ordered = flip(std::bit_cast<int32_t>(weights[e]));
    low = std::min(low, ordered);
    high = std::max(high, ordered);
  }
  Range range{std::bit_cast<float>(flip(low)), std::bit_cast<float>(flip(high))};
  if (range.low == 0) range.low = *std::find(weights, weights + N, 0.0f);
  return range;
}

// x towards zero, clamped to 0..top; NaN gives 0.
inline int TruncateTo(float x, int top) {
  const float bound = static_cast<float>(top);
  x = x > 0.0f ? x : 0.0f;
  x = x < bound ? x : bound;
  return static_cast<int>(x);
}

// The nearest integer, halves away from zero, clamped to low..high; NaN gives low. |low| and |high|
// are below 2^22.
inline int RoundAway(float x, int low, int high) {
  const float least = static_cast<float>(low), most = static_cast<float>(high);
  // The float below 1/2: adding 1/2 itself would carry 1/2 - 2^-25 up to 1.
  x += std::copysign(0x1.fffffep-2f, x);
  x = x > least ? x : least;
  x = x < most ? x : most;
  return static_cast<int>(x);
}

}  // namespace halftone
