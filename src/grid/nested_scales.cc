#include "grid/nested_scales.h"

#include <algorithm>
#include <cmath>

#include "grid/dynamic_levels.h"

namespace halftone {

float NestedScales::Scale(size_t i) const {
  return DynamicLevels()[codes[i]] * absmax[i / kNestedBlock] + offset;
}

NestedScales QuantizeScales(std::span<const float> scales) {
  const auto& levels = DynamicLevels();
  NestedScales nested;
  double sum = 0;
  for (const float scale : scales) sum += scale;
  if (!scales.empty()) nested.offset = static_cast<float>(sum / static_cast<double>(scales.size()));
  for (size_t at = 0; at < scales.size(); at += kNestedBlock) {
    const auto block = scales.subspan(at, std::min<size_t>(kNestedBlock, scales.size() - at));
    float largest = 0;
    for (const float scale : block) largest = std::max(largest, std::fabs(scale - nested.offset));
    nested.absmax.push_back(largest);
    for (const float scale : block) {
      const float x = largest > 0 ? (scale - nested.offset) / largest : 0.0f;
      nested.codes.push_back(NearestCode(levels, x));
    }
  }
  return nested;
}

}  // namespace halftone
