#include "model/forward.h"

#include <algorithm>
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
      branch_(ops.Allocate(max_tokens * p.width)) {
  positions_.reserve(static_cast<size_t>(max_tokens));
}

std::span<Linear LayerWeights::*const> LinearsOf(Stage stage) {
  using Member = Linear LayerWeights::*;
  static constexpr Member kAttention[] = {&LayerWeights::query, &LayerWeights::key,
                                          &LayerWeights::value};
  static constexpr Member kAttentionOutput[] = {&LayerWeights::attention_output};
  static constexpr Member kFeedForward[] = {&LayerWeights::gate, &LayerWeights::up};
  static constexpr Member kDown[] = {&LayerWeights::down};
  switch (stage) {
    case Stage::kAttention:
      return kAttention;
    case Stage::kAttentionOutput:
      return kAttentionOutput;
    case Stage::kFeedForward:
      return kFeedForward;
    case Stage::kDown:
      return kDown;
  }
  return {};
}

ForwardPass::ForwardPass(const ModelWeights& model, Ops& ops, std::span<const TokenRun> runs,
                         Workspace& workspace)
    : m_(model), p_(model.parameters), ops_(ops), runs_(runs), w_(workspace) {
  Begin();
}

ForwardPass::ForwardPass(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
                         int64_t tokens, int64_t position)
    : m_(model),
      p_(model.parameters),
      ops_(ops),
      single_{&cache, position, tokens},
      runs_(&single_, 1),
      w_(workspace) {
  Begin();
}

void ForwardPass::Begin() {
  w_.positions_.clear();
  for (const TokenRun& run : runs_) {
    for (int64_t t = 0; t < run.tokens; ++t) w_.positions_.push_back(run.position + t);
  }
  tokens_ = static_cast<int64_t>(w_.positions_.size());
}

void ForwardPass::Embed(std::span<const int32_t> ids) {
  ops_.EmbedRows(*m_.embedding, ids, w_.residual_.get());
}

void ForwardPass::SetResidual(const float* residual) {
  std::copy_n(residual, tokens_ * p_.width, w_.residual_.get());
}

int64_t ForwardPass::InputWidth(Stage stage) const {
  switch (stage) {
    case Stage::kAttentionOutput:
      return p_.heads * p_.head_dim;
    case Stage::kDown:
      return p_.feed_forward;
    default:
      return p_.width;
  }
}

const float* ForwardPass::Input(const LayerWeights& layer, Stage stage) {
  if (stage == Stage::kAttentionOutput) return w_.attended_.get();
  if (stage == Stage::kDown) return w_.gate_.get();
  const auto& norm = stage == Stage::kAttention ? layer.attention_norm : layer.feed_forward_norm;
  ops_.RmsNorm(w_.residual_.get(), norm.data(), p_.rms_eps, tokens_, p_.width, w_.normed_.get());
  return w_.normed_.get();
}

void ForwardPass::SetInput(Stage stage, const float* input) {
  float* to = stage == Stage::kAttentionOutput ? w_.attended_.get()
              : stage == Stage::kDown          ? w_.gate_.get()
                                               : w_.normed_.get();
  std::copy_n(input, tokens_ * InputWidth(stage), to);
}

void ForwardPass::Apply(const LayerWeights& layer, Stage stage, int64_t cache_layer) {
  switch (stage) {
    case Stage::kAttention: {
      Multiply({{&layer.query, w_.query_.get()},
                {&layer.key, w_.key_.get()},
                {&layer.value, w_.value_.get()}},
               w_.normed_.get());
      ops_.Rope(w_.query_.get(), w_.positions_, p_.heads, p_.head_dim, m_.rope,
                m_.inverse_frequency);
      ops_.Rope(w_.key_.get(), w_.positions_, p_.kv_heads, p_.head_dim, m_.rope,
                m_.inverse_frequency);
      const float scale = 1.0f / std::sqrt(static_cast<float>(p_.head_dim));
      ops_.Attention(runs_, cache_layer, w_.query_.get(), w_.key_.get(), w_.value_.get(), scale,
                     w_.attended_.get());
      return;
    }
    case Stage::kFeedForward:
      Multiply({{&layer.gate, w_.gate_.get()}, {&layer.up, w_.up_.get()}}, w_.normed_.get());
      ops_.SiluMultiply(w_.gate_.get(), w_.up_.get(), tokens_ * p_.feed_forward);
      return;
    case Stage::kAttentionOutput:
      Multiply({{&layer.attention_output, w_.branch_.get()}}, w_.attended_.get());
      break;
    case Stage::kDown:
      Multiply({{&layer.down, w_.branch_.get()}}, w_.gate_.get());
      break;
  }
  ops_.Add(w_.residual_.get(), w_.branch_.get(), tokens_ * p_.width);
}

const float* ForwardPass::Output(int64_t rows) {
  const float* last = w_.residual_.get() + (tokens_ - rows) * p_.width;
  ops_.RmsNorm(last, m_.output_norm.data(), p_.rms_eps, rows, p_.width, w_.normed_.get());
  return w_.normed_.get();
}

const float* ForwardPass::OutputOfRuns() {
  const auto runs = static_cast<int64_t>(runs_.size());
  int64_t end = 0;
  for (int64_t r = 0; r < runs; ++r) {
    end += runs_[r].tokens;
    // A run has a token at least, so that no row is overwritten before it is moved.
    if (end - 1 == r) continue;
    std::copy_n(w_.residual_.get() + (end - 1) * p_.width, p_.width,
                w_.residual_.get() + r * p_.width);
  }
  ops_.RmsNorm(w_.residual_.get(), m_.output_norm.data(), p_.rms_eps, runs, p_.width,
               w_.normed_.get());
  return w_.normed_.get();
}

void ForwardPass::Multiply(std::initializer_list<std::pair<const Linear*, float*>> linears,
                           const float* x) {
  constexpr size_t kMost = 3;
  MatrixProduct products[kMost];
  size_t count = 0;
  for (const auto& [linear, y] : linears) products[count++] = {linear->weight.get(), y};
  ops_.MatMulAll({products, count}, x, tokens_);
  for (const auto& [linear, y] : linears) {
    if (linear->bias.empty()) continue;
    ops_.AddBias(y, linear->bias.data(), tokens_, linear->weight->rows);
  }
}

namespace {

void RunLayers(ForwardPass& pass, const ModelWeights& model, int64_t tokens, Tap* tap) {
  for (int64_t l = 0; l < model.parameters.layers; ++l) {
    const LayerWeights& layer = model.layers[l];
    for (const Stage stage : kStages) {
      const float* input = pass.Input(layer, stage);
      if (tap != nullptr) {
        for (const auto member : LinearsOf(stage)) {
          const Linear& linear = layer.*member;
          tap->OnInput(linear.name, input, tokens, linear.weight->cols);
        }
      }
      pass.Apply(layer, stage, l);
    }
  }
}

void MultiplyHead(const ModelWeights& model, Ops& ops, const float* output, int64_t rows,
                  float* logits) {
  ops.MatMul(model.head(), output, rows, logits);
  if (!model.output.bias.empty()) {
    ops.AddBias(logits, model.output.bias.data(), rows, model.parameters.vocabulary);
  }
}

}  // namespace

void Forward(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
             std::span<const int32_t> tokens, int64_t position, int64_t first_logit, float* logits,
             Tap* tap) {
  const auto count = static_cast<int64_t>(tokens.size());
  ForwardPass pass(model, ops, cache, workspace, count, position);
  pass.Embed(tokens);
  RunLayers(pass, model, count, tap);
  const int64_t rows = count - first_logit;
  if (rows <= 0) return;
  const float* output = pass.Output(rows);
  if (tap != nullptr) tap->OnInput(model.output.name, output, rows, model.parameters.width);
  MultiplyHead(model, ops, output, rows, logits);
}

void Forward(const ModelWeights& model, Ops& ops, std::span<const TokenRun> runs,
             Workspace& workspace, std::span<const int32_t> tokens, float* logits) {
  ForwardPass pass(model, ops, runs, workspace);
  pass.Embed(tokens);
  RunLayers(pass, model, static_cast<int64_t>(tokens.size()), nullptr);
  MultiplyHead(model, ops, pass.OutputOfRuns(), static_cast<int64_t>(runs.size()), logits);
}

}  // namespace halftone
