#include "grid/nested_scales.h"

#include <algorithm>
#include <cmath>

namespace halftone {

const std::array<float, 256>& DynamicLevels() {
  static const std::array<float, 256> levels = [] {
    std::vector<float> list = {0.0f, 1.0f};
    for (int i = 0; i < 7; ++i) {
      // torch.linspace: from either end to the middle, with fused products.
      const int intervals = 1 << i;
      const float step = (1.0f - 0.1f) / static_cast<float>(intervals);
      const auto border = [&](int k) {
        return k < (intervals + 1) / 2 ? std::fma(step, static_cast<float>(k), 0.1f)
                                       : std::fma(-step, static_cast<float>(intervals - k), 1.0f);
      };
      const auto power = static_cast<float>(std::pow(10.0, i - 6));
      for (int k = 0; k < intervals; ++k) {
        const float middle = (border(k) + border(k + 1)) / 2 * power;
        list.push_back(middle);
        list.push_back(-middle);
      }
    }
    std::ranges::sort(list);
    std::array<float, 256> sorted;
    std::ranges::copy(list, sorted.begin());
    return sorted;
  }();
  return levels;
}

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
      auto code = static_cast<size_t>(std::ranges::lower_bound(levels, x) - levels.begin());
      code = std::min(code, levels.size() - 1);
      // Of two equally near ones the lower.
      if (code > 0 && x - levels[code - 1] <= levels[code] - x) --code;
      nested.codes.push_back(static_cast<uint8_t>(code));
    }
  }
  return nested;
}

}  // namespace halftone
