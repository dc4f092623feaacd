#include "grid/group32.h"

#include <algorithm>

#include "grid/scale_search.h"

namespace halftone {
namespace {

// Calls body(groups) for every 16 groups of a row.
template <class Body>
void ForBatches(const float* w, int64_t n, const float* importance, Body body) {
  float squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += w[i] * w[i];
  float variance[kSearchLanes];
  std::fill_n(variance, kSearchLanes, squares / static_cast<float>(n));
  for (int64_t at = 0; at < n; at += kSearchLanes * 32) {
    const int count = static_cast<int>(std::min<int64_t>(kSearchLanes, (n - at) / 32));
    body(SearchGroups{.x = w + at,
                      .size = 32,
                      .count = count,
                      .weight = ErrorWeight::kImportanceMagnitude,
                      .importance = importance + at,
                      .variance = variance});
  }
}

// codes = nearest((w - offset) * inverse) clamped to low..high, minus low.
void Round(const float* w, float offset, float inverse, int low, int high, uint8_t* codes) {
  for (int e = 0; e < 32; ++e) {
    const int code = NearestInt(inverse * (w[e] - offset));
    codes[e] = static_cast<uint8_t>(std::min(std::max(code, low), high) - low);
  }
}

}  // namespace

void SearchSymmetric32(int levels, const float* w, int64_t n, const float* importance,
                       uint8_t* blocks, int block_bytes, PackGroup32 pack) {
  ForBatches(w, n, importance, [&](const SearchGroups& groups) {
    SymmetricFit fit;
    FitSymmetric(levels, groups, &fit);
    for (int g = 0; g < groups.count; ++g, blocks += block_bytes) {
      Group32 group{.scale = fit.scale[g], .minimum = 0, .codes = {}};
      if (fit.code_inverse[g] != 0) {
        Round(groups.x + 32 * g, 0, fit.code_inverse[g], -levels, levels - 1, group.codes);
      }
      pack(group, blocks);
    }
  });
}

void SearchAffine32(int levels, const float* w, int64_t n, const float* importance, uint8_t* blocks,
                    int block_bytes, PackGroup32 pack) {
  const AffineSearch search{
      .levels = levels, .first = -0.9f, .step = 0.05f, .steps = 36, .absolute = false};
  ForBatches(w, n, importance, [&](const SearchGroups& groups) {
    AffineFit fit;
    FitAffine(search, groups, &fit);
    for (int g = 0; g < groups.count; ++g, blocks += block_bytes) {
      Group32 group{.scale = fit.scale[g], .minimum = -fit.minimum[g], .codes = {}};
      Round(groups.x + 32 * g, fit.code_offset[g], fit.code_inverse[g], 0, levels, group.codes);
      pack(group, blocks);
    }
  });
}

}  // namespace halftone
