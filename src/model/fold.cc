#include "model/fold.h"

#include <numeric>

namespace halftone {

Role FoldRole(Stage stage) {
  switch (stage) {
    case Stage::kAttention:
      return Role::kAttentionNorm;
    case Stage::kAttentionOutput:
      return Role::kValue;
    case Stage::kFeedForward:
      return Role::kFeedForwardNorm;
    case Stage::kDown:
      break;
  }
  return Role::kUp;
}

std::vector<int32_t> FoldSource(Stage stage, const Hyperparameters& p) {
  const int64_t n = stage == Stage::kAttentionOutput ? p.heads * p.head_dim
                    : stage == Stage::kDown          ? p.feed_forward
                                                     : p.width;
  std::vector<int32_t> source(static_cast<size_t>(n));
  std::iota(source.begin(), source.end(), 0);
  if (stage != Stage::kAttentionOutput) return source;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t head = i / p.head_dim;
    source[i] = static_cast<int32_t>(head * p.kv_heads / p.heads * p.head_dim + i % p.head_dim);
  }
  return source;
}

bool IsFolded(const RolePlace& place) {
  switch (place.role->role) {
    case Role::kAttentionNorm:
    case Role::kFeedForwardNorm:
      return true;
    case Role::kValue:
    case Role::kUp:
      return place.bias;
    default:
      return false;
  }
}

}  // namespace halftone
