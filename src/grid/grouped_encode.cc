#include "grid/grouped_encode.h"

#include <algorithm>
#include <cmath>

#include "grid/rounding.h"
#include "grid/scale_search.h"

namespace halftone {
namespace {

// The ends of the weights, zero included.
struct Ends {
  float low = 0, high = 0;
  float largest() const { return std::max(high, -low); }  // +0 for zeros
};

Ends EndsOf(const float* w, int n) {
  Ends ends;
  for (int e = 0; e < n; ++e) {
    ends.low = std::min(ends.low, w[e]);
    ends.high = std::max(ends.high, w[e]);
  }
  return ends;
}

// The nearest number of a type that is not infinite.
float Finite(Real real, float x) {
  const float most = real == Real::kF32   ? 0x1.fffffep127f
                     : real == Real::kF16 ? 65504.0f
                                          : 0x1.fep127f;
  return RoundToReal(real, std::clamp(x, -most, most));
}

// As torch.round, NaN (0 / 0) as 0.
int RoundEven(float x, int low, int high) {
  if (!(x > static_cast<float>(low))) return std::isnan(x) ? 0 : low;
  if (x >= static_cast<float>(high)) return high;
  return static_cast<int>(std::nearbyint(x));
}

// bitsandbytes' 4 bits. Zeros of two codes (fp4) are two levels with a midpoint between them.
GroupedFit RoundToMidpoints(const GroupedEncoder& encoder, const float* w, uint8_t* codes) {
  const Real real = encoder.spec->scale;
  const float scale = Finite(real, EndsOf(w, encoder.block).largest());
  const float inverse = 1.0f / std::max(scale, 1e-38f);
  for (int e = 0; e < encoder.block; ++e) {
    const float x = std::clamp(w[e] * inverse, -1.0f, 1.0f);
    const auto above = std::ranges::lower_bound(encoder.midpoints, x);
    codes[e] = encoder.sorted_codes[static_cast<size_t>(above - encoder.midpoints.begin())];
  }
  return {scale, 0};
}

// bitsandbytes' 8 bits: -128 is not used.
GroupedFit RoundToLargest(const GroupedEncoder& encoder, const float* w, uint8_t* codes) {
  float largest = 0;
  for (int e = 0; e < encoder.block; ++e) {
    largest = std::max(largest, std::fabs(Finite(Real::kF16, w[e])));
  }
  // In this order: torch divides a number by a tensor through the reciprocal.
  const float factor = (1.0f / largest) * std::round(1 / encoder.spec->after);
  for (int e = 0; e < encoder.block; ++e) {
    codes[e] = static_cast<uint8_t>(128 + RoundEven(Finite(Real::kF16, w[e]) * factor, -127, 127));
  }
  return {Finite(encoder.spec->scale, largest), 0};
}

// GPTQ, AWQ.
GroupedFit RoundIntegers(const GroupedEncoder& encoder, const float* w, uint8_t* codes) {
  const GroupedSpec& spec = *encoder.spec;
  const Ends ends = EndsOf(w, encoder.block);
  const int top = (1 << spec.bits) - 1;
  GroupedFit fit;
  if (spec.symmetric) {
    fit.scale = RoundToReal(spec.scale, ends.largest() / (static_cast<float>(top) / 2));
    fit.zero = (top + 1) / 2;
  } else {
    fit.scale = RoundToReal(spec.scale, (ends.high - ends.low) / static_cast<float>(top));
    if (fit.scale > 0) fit.zero = RoundAway(-ends.low / fit.scale, 0, top);
  }
  const float inverse = InverseOrZero(fit.scale);
  for (int e = 0; e < encoder.block; ++e) {
    const float x = std::clamp(w[e] * inverse, -256.0f, 256.0f);
    codes[e] = static_cast<uint8_t>(std::clamp(NearestInt(x) + fit.zero, 0, top));
  }
  return fit;
}

// The code of a float's level nearest to x, which is clamped to the levels: positive levels ascend
// with their codes, the highest bit is the sign.
uint8_t NearestFloat(const GroupedEncoder& encoder, float x) {
  const int sign = 1 << (encoder.spec->bits - 1);
  // The last code of E4M3 is its NaN.
  const int top = encoder.spec->levels == GroupedLevels::kE4m3 ? sign - 2 : sign - 1;
  const auto positive = encoder.levels.first(static_cast<size_t>(top) + 1);
  const float magnitude = std::min(std::fabs(x), positive.back());
  auto code = static_cast<int>(std::ranges::lower_bound(positive, magnitude) - positive.begin());
  if (code > 0) {
    const float below = magnitude - positive[code - 1], above = positive[code] - magnitude;
    if (below < above || (below == above && code % 2 == 1)) --code;
  }
  return static_cast<uint8_t>(code | (std::signbit(x) ? sign : 0));
}

// compressed-tensors. An all-zero group gets the type's epsilon for a scale.
GroupedFit RoundInType(const GroupedEncoder& encoder, const float* weights, uint8_t* codes) {
  const GroupedSpec& spec = *encoder.spec;
  const Real real = spec.scale;
  const auto round = [real](float x) { return RoundToReal(real, x); };
  std::vector<float> w(static_cast<size_t>(encoder.block));
  for (int e = 0; e < encoder.block; ++e) w[e] = Finite(real, weights[e]);
  const Ends ends = EndsOf(w.data(), encoder.block);
  const bool integers = spec.levels == GroupedLevels::kInteger;
  const int half = 1 << (spec.bits - 1);
  const float epsilon = real == Real::kF32 ? 0x1p-23f : real == Real::kF16 ? 0x1p-10f : 0x1p-7f;

  float scale, zero = 0;
  if (integers && !spec.symmetric) {
    const auto range = static_cast<float>(2 * half - 1);
    scale = Finite(real, Finite(real, ends.high - ends.low) / range);
    const float at = round(static_cast<float>(-half) - round(ends.low / scale));
    zero = static_cast<float>(RoundEven(at, -half, half - 1));
  } else {
    const float end =
        integers ? static_cast<float>(half) - 0.5f : *std::ranges::max_element(encoder.levels);
    scale = Finite(real, ends.largest() / end);
  }
  if (scale == 0) scale = epsilon;
  for (int e = 0; e < encoder.block; ++e) {
    const float x = round(w[e] / scale);
    codes[e] = integers ? static_cast<uint8_t>(half + RoundEven(round(x + zero), -half, half - 1))
                        : NearestFloat(encoder, x);
  }
  return {scale, half + static_cast<int>(zero)};
}

}  // namespace

GroupedEncoder::GroupedEncoder(const GroupedSpec& spec, int block, std::span<const float> levels)
    : spec(&spec), block(block), levels(levels) {
  for (size_t code = 0; code < levels.size(); ++code) {
    sorted_codes.push_back(static_cast<uint8_t>(code));
  }
  std::ranges::stable_sort(sorted_codes, {}, [&](uint8_t code) { return levels[code]; });
  for (size_t i = 1; i < levels.size(); ++i) {
    midpoints.push_back((levels[sorted_codes[i - 1]] + levels[sorted_codes[i]]) / 2);
  }
}

GroupedFit RoundGroup(const GroupedEncoder& encoder, const float* weights, uint8_t* codes) {
  const GroupedSpec& spec = *encoder.spec;
  if (spec.levels == GroupedLevels::kNf4 || spec.levels == GroupedLevels::kFp4) {
    return RoundToMidpoints(encoder, weights, codes);
  }
  if (spec.levels != GroupedLevels::kInteger) return RoundInType(encoder, weights, codes);
  if (spec.after != 1) return RoundToLargest(encoder, weights, codes);
  if (spec.scale == Real::kF16) return RoundIntegers(encoder, weights, codes);
  return RoundInType(encoder, weights, codes);
}

}  // namespace halftone
