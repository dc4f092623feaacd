#include "grid/super_block.h"

namespace halftone {
namespace {

// values ~ f16 * codes, the largest value at the largest code.
uint16_t RoundPlain(const float* values, int count, int largest_code, uint8_t* codes) {
  const float levels = static_cast<float>(largest_code);
  const float largest = std::max(0.0f, *std::max_element(values, values + count));
  const float inverse = largest > 0 ? levels / largest : 0.0f;
  for (int g = 0; g < count; ++g) {
    const int code = static_cast<uint8_t>(NearestInt(inverse * values[g]));
    codes[g] = static_cast<uint8_t>(std::min(largest_code, code));
  }
  return FiniteF16(largest / levels);
}

// d, dmin and the groups' integers of one super-block, from the fits at `first`.
void RoundParameters(const AffineSuperSpec& spec, const AffineFit& fit, int first, bool weighted,
                     AffineSuperBlock& block) {
  const int groups = kSuperBlock / spec.group, levels = spec.parameter_levels;
  uint8_t scale[16] = {}, minimum[16] = {};
  const auto round = [&](const float* values, uint8_t* codes) {
    if (!weighted) return RoundPlain(values, groups, levels, codes);
    const float value = FitPositive(levels, groups, values, fit.weight + first, codes);
    if (!spec.wraps) {
      for (int g = 0; g < 16; ++g) codes[g] = std::min(static_cast<uint8_t>(levels), codes[g]);
    }
    return FiniteF16(value);
  };
  block.d = round(fit.scale + first, scale);
  block.dmin = round(fit.minimum + first, minimum);
  spec.pack(scale, minimum, block.packed);
}

void ChooseCodes(const AffineSuperSpec& spec, const float* x, const AffineFit& fit, int first,
                 AffineSuperBlock& block) {
  const int groups = kSuperBlock / spec.group;
  uint8_t scale[16], minimum[16];
  spec.unpack(block.packed, scale, minimum);
  const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
  float divisor[16], offset[16];
  for (int g = 0; g < groups; ++g) {
    divisor[g] = d * static_cast<float>(scale[g]);
    offset[g] = dmin * static_cast<float>(minimum[g]);
  }
  RoundGroups(x, spec.group, groups, divisor, offset, 0, spec.levels, block.codes);
  for (int g = 0; g < groups; ++g) {
    if (divisor[g] != 0) continue;
    const float inverse = fit.code_inverse[first + g], low = fit.code_offset[first + g];
    for (int i = g * spec.group; i < (g + 1) * spec.group; ++i) {
      block.codes[i] =
          static_cast<uint8_t>(std::clamp(NearestInt(inverse * (x[i] - low)), 0, spec.levels));
    }
  }
}

}  // namespace

void FitAffineSuperBlocks(const AffineSuperSpec& spec, const float* x, const float* importance,
                          int count, AffineSuperBlock* blocks) {
  const int groups = kSuperBlock / spec.group;
  float variance[kSuperBatch];
  if (importance != nullptr) {
    SumSquares(x, kSuperBlock, count, variance);
    for (int b = 0; b < count; ++b) variance[b] = spec.variance * variance[b] / kSuperBlock;
  }
  // As many super-blocks at once as fill the lanes.
  const int together = kSearchLanes / groups;
  for (int b = 0; b < count; b += together) {
    const int here = std::min(together, count - b);
    float variances[kSearchLanes];
    SearchGroups search{x + b * kSuperBlock, spec.group, here * groups, spec.weight};
    if (importance != nullptr) {
      for (int g = 0; g < search.count; ++g) variances[g] = variance[b + g / groups];
      search.weight = ErrorWeight::kImportanceMagnitude;
      search.importance = importance + b * kSuperBlock;
      search.variance = variances;
    }
    AffineFit fit;
    FitAffine(importance != nullptr ? spec.weighted : spec.plain, search, &fit);
    for (int k = 0; k < here; ++k) {
      AffineSuperBlock& block = blocks[b + k];
      RoundParameters(spec, fit, k * groups, importance != nullptr, block);
      ChooseCodes(spec, x + (b + k) * kSuperBlock, fit, k * groups, block);
    }
  }
}

}  // namespace halftone
