// Round to nearest for the grids of grouped.h, as the owner of each format does it: the same scale,
// the same codes, ties and roundings in between included. Which owner follows from the parameters:
//
//   nf4, fp4             bitsandbytes' quantize_4bit: scale = max|w|, w * (1 / scale) between the
//                        midpoints of the sorted levels, ties to the lower
//   int8 with `after`    bitsandbytes' int8_vectorwise_quant: weights as f16, scale = max|w|,
//                        code = rint(w * (1 / scale * 127))
//   f16 integers         GPTQ, AWQ: from the smallest to the largest weight (asymmetric) or the
//                        larger magnitude at 2^(bits-1) - 1/2 (symmetric), divisions in f32
//   other integers,      compressed-tensors' calculate_qparams and quantize: the same ends, but
//   e2m1, fp8            every intermediate result is rounded to the type of the scale; floats
//                        round ties to the even code and keep the sign of zero
//
// Sources: bitsandbytes 0.50, backends/default/ops.py; compressed-tensors 0.20,
// quantization/utils/helpers.py and lifecycle/forward_helpers.py.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "grid/grouped.h"

namespace halftone {

// A member of the family, prepared for rounding.
struct GroupedEncoder {
  const GroupedSpec* spec = nullptr;
  int block = 0;                      // weights of a group
  std::span<const float> levels;      // by code
  std::vector<uint8_t> sorted_codes;  // by level; codes of equal levels in their order
  std::vector<float> midpoints;       // between neighbours in that order

  GroupedEncoder() = default;
  GroupedEncoder(const GroupedSpec& spec, int block, std::span<const float> levels);
};

// Scale and zero for one group of finite weights, and the code of each. All finite.
struct GroupedFit {
  float scale = 0;
  int zero = 0;  // where integers are asymmetric
};
GroupedFit RoundGroup(const GroupedEncoder& encoder, const float* weights, uint8_t* codes);

}  // namespace halftone
