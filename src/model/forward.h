// The one forward pass: token ids in, logits out.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernel/ops.h"
#include "model/weights.h"

namespace halftone {

// Sees the input of each linear layer: how calibration listens.
class Tap {
 public:
  virtual ~Tap() = default;
  // x: [tokens, cols], the activations that meet the weight of that name (GGUF dialect).
  virtual void OnInput(std::string_view weight, const float* x, int64_t tokens, int64_t cols) = 0;
};

// Buffers of one forward pass, allocated once for the largest batch.
class Workspace {
 public:
  Workspace(const Hyperparameters& parameters, Ops& ops, int64_t max_tokens);

  int64_t max_tokens() const { return max_tokens_; }

 private:
  friend class ForwardPass;
  int64_t max_tokens_;
  std::shared_ptr<float[]> residual_;          // [max_tokens, width]
  std::shared_ptr<float[]> normed_;            // [max_tokens, width]
  std::shared_ptr<float[]> query_, attended_;  // [max_tokens, heads * head_dim]
  std::shared_ptr<float[]> key_, value_;       // [max_tokens, kv_heads * head_dim]
  std::shared_ptr<float[]> gate_, up_;         // [max_tokens, feed_forward]
  std::shared_ptr<float[]> branch_;            // [max_tokens, width]
};

// Runs tokens at positions [position, position + tokens.size()) of the cache's sequence and writes
// the logits of the tokens from index `first_logit` on to logits, [tokens - first_logit,
// vocabulary]. At most workspace.max_tokens() tokens; token ids must be inside the vocabulary.
void Forward(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
             std::span<const int32_t> tokens, int64_t position, int64_t first_logit, float* logits,
             Tap* tap = nullptr);

}  // namespace halftone
