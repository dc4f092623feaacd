#include "model/fold.h"

#include <numeric>

namespace halftone {

Fold FoldOf(const LayerWeights& layer, Stage stage) {
  switch (stage) {
    case Stage::kAttention:
      return Fold::kAttentionNorm;
    case Stage::kAttentionOutput:
      return Fold::kValue;
    case Stage::kFeedForward:
      return layer.experts.empty() ? Fold::kFeedForwardNorm : Fold::kNone;
    case Stage::kDown:
      break;
  }
  return Fold::kUp;
}

std::vector<int32_t> FoldSource(Stage stage, const Hyperparameters& p) {
  const int64_t n = stage == Stage::kAttentionOutput         ? p.heads * p.head_dim
                    : stage == Stage::kDown && p.experts > 0 ? p.expert.feed_forward
                    : stage == Stage::kDown                  ? p.feed_forward
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

bool IsFolded(const RolePlace& place, bool experts) {
  switch (place.role->role) {
    case Role::kAttentionNorm:
      return !place.bias;
    case Role::kFeedForwardNorm:
      return !place.bias && !experts;
    case Role::kValue:
    case Role::kUp:
    case Role::kQueryKeyValue:
    case Role::kGateUp:
      return place.bias;
    default:
      return false;
  }
}

}  // namespace halftone
