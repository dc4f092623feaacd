#include "model/forward.h"

#include <cmath>

namespace halftone {

Workspace::Workspace(const Hyperparameters& p, Ops& ops, int64_t max_tokens)
    : max_tokens_(max_tokens),
      residual_(ops.Allocate(max_tokens * p.width)),
      normed_(ops.Allocate(max_tokens * p.width)),
      query_(ops.Allocate(max_tokens * p.heads * p.head_dim)),
      attended_(ops.Allocate(max_tokens * p.heads * p.head_dim)),
      key_(ops.Allocate(max_tokens * p.kv_heads * p.head_dim)),
      value_(ops.Allocate(max_tokens * p.kv_heads * p.head_dim)),
      gate_(ops.Allocate(max_tokens * p.feed_forward)),
      up_(ops.Allocate(max_tokens * p.feed_forward)),
      branch_(ops.Allocate(max_tokens * p.width)) {}

class ForwardPass {
 public:
  ForwardPass(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
              int64_t tokens, int64_t position, Tap* tap)
      : m_(model),
        p_(model.parameters),
        ops_(ops),
        cache_(cache),
        w_(workspace),
        tokens_(tokens),
        position_(position),
        tap_(tap) {}

  void Run(std::span<const int32_t> ids, int64_t first_logit, float* logits) {
    ops_.EmbedRows(*m_.embedding, ids, w_.residual_.get());
    for (int64_t l = 0; l < p_.layers; ++l) {
      Attend(l, m_.layers[l]);
      FeedForward(m_.layers[l]);
    }
    const int64_t rows = tokens_ - first_logit;
    if (rows <= 0) return;
    const float* last = w_.residual_.get() + first_logit * p_.width;
    ops_.RmsNorm(last, m_.output_norm.data(), p_.rms_eps, rows, p_.width, w_.normed_.get());
    if (tap_ != nullptr) tap_->OnInput(m_.output.name, w_.normed_.get(), rows, p_.width);
    ops_.MatMul(m_.head(), w_.normed_.get(), rows, logits);
    if (!m_.output.bias.empty()) {
      ops_.AddBias(logits, m_.output.bias.data(), rows, p_.vocabulary);
    }
  }

 private:
  void Attend(int64_t l, const LayerWeights& layer) {
    ops_.RmsNorm(w_.residual_.get(), layer.attention_norm.data(), p_.rms_eps, tokens_, p_.width,
                 w_.normed_.get());
    Apply(layer.query, w_.normed_.get(), w_.query_.get());
    Apply(layer.key, w_.normed_.get(), w_.key_.get());
    Apply(layer.value, w_.normed_.get(), w_.value_.get());
    ops_.Rope(w_.query_.get(), tokens_, p_.heads, p_.head_dim, m_.rope, m_.inverse_frequency,
              position_);
    ops_.Rope(w_.key_.get(), tokens_, p_.kv_heads, p_.head_dim, m_.rope, m_.inverse_frequency,
              position_);
    const float scale = 1.0f / std::sqrt(static_cast<float>(p_.head_dim));
    ops_.Attention(cache_, l, position_, tokens_, w_.query_.get(), w_.key_.get(), w_.value_.get(),
                   scale, w_.attended_.get());
    Apply(layer.attention_output, w_.attended_.get(), w_.branch_.get());
    ops_.Add(w_.residual_.get(), w_.branch_.get(), tokens_ * p_.width);
  }

  void FeedForward(const LayerWeights& layer) {
    ops_.RmsNorm(w_.residual_.get(), layer.feed_forward_norm.data(), p_.rms_eps, tokens_, p_.width,
                 w_.normed_.get());
    Apply(layer.gate, w_.normed_.get(), w_.gate_.get());
    Apply(layer.up, w_.normed_.get(), w_.up_.get());
    ops_.SiluMultiply(w_.gate_.get(), w_.up_.get(), tokens_ * p_.feed_forward);
    Apply(layer.down, w_.gate_.get(), w_.branch_.get());
    ops_.Add(w_.residual_.get(), w_.branch_.get(), tokens_ * p_.width);
  }

  void Apply(const Linear& linear, const float* x, float* y) {
    if (tap_ != nullptr) tap_->OnInput(linear.name, x, tokens_, linear.weight->cols);
    ops_.MatMul(*linear.weight, x, tokens_, y);
    if (!linear.bias.empty()) {
      ops_.AddBias(y, linear.bias.data(), tokens_, linear.weight->rows);
    }
  }

  const ModelWeights& m_;
  const Hyperparameters& p_;
  Ops& ops_;
  KvCache& cache_;
  Workspace& w_;
  int64_t tokens_;
  int64_t position_;
  Tap* tap_;
};

void Forward(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
             std::span<const int32_t> tokens, int64_t position, int64_t first_logit, float* logits,
             Tap* tap) {
  ForwardPass(model, ops, cache, workspace, static_cast<int64_t>(tokens.size()), position, tap)
      .Run(tokens, first_logit, logits);
}

}  // namespace halftone
