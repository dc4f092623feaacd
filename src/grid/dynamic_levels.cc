#include "grid/dynamic_levels.h"

#include <cmath>
#include <vector>

namespace halftone {
namespace {

Levels256 MakeLevels(bool with_sign) {
  std::vector<float> list = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    // torch.linspace: from either end to the middle, with fused products.
    const int intervals = (with_sign ? 1 : 2) << i;
    const float step = (1.0f - 0.1f) / static_cast<float>(intervals);
    const auto border = [&](int k) {
      return k < (intervals + 1) / 2 ? std::fma(step, static_cast<float>(k), 0.1f)
                                     : std::fma(-step, static_cast<float>(intervals - k), 1.0f);
    };
    const auto power = static_cast<float>(std::pow(10.0, i - 6));
    for (int k = 0; k < intervals; ++k) {
      const float middle = (border(k) + border(k + 1)) / 2 * power;
      list.push_back(middle);
      if (with_sign) list.push_back(-middle);
    }
  }
  std::ranges::sort(list);
  Levels256 sorted;
  std::ranges::copy(list, sorted.begin());
  return sorted;
}

}  // namespace

const Levels256& DynamicLevels() {
  static const Levels256 levels = MakeLevels(true);
  return levels;
}

const Levels256& UnsignedDynamicLevels() {
  static const Levels256 levels = MakeLevels(false);
  return levels;
}

}  // namespace halftone
