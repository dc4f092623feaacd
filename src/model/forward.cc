#include "model/forward.h"

#include <algorithm>

#include "base/fnv.h"
#include "base/mix.h"

namespace halftone {

namespace {

// Values of gate and up for one token.
int64_t InnerWidth(const Hyperparameters& p) {
  return p.experts > 0 ? p.expert.used * p.expert.feed_forward : p.feed_forward;
}

}  // namespace

Workspace::Workspace(const Hyperparameters& p, Ops& ops, int64_t max_tokens, Keep keep)
    : max_tokens_(max_tokens),
      residual_(ops.Allocate(max_tokens * p.width)),
      normed_(ops.Allocate(max_tokens * p.width)),
      query_(ops.Allocate(max_tokens * p.heads * p.head_dim)),
      attended_(ops.Allocate(max_tokens * p.heads * p.head_dim)),
      key_(ops.Allocate(max_tokens * p.kv_heads * p.head_dim)),
      value_(ops.Allocate(max_tokens * p.kv_heads * p.head_dim)),
      gate_(ops.Allocate(max_tokens * InnerWidth(p))),
      up_(ops.Allocate(max_tokens * InnerWidth(p))),
      attention_branch_(ops.Allocate(max_tokens * p.width)) {
  // A buffer of its own where something is to be kept.
  const auto beside = [&](const std::shared_ptr<float[]>& other, int64_t width) {
    return keep == Keep::kLittle ? other : ops.Allocate(max_tokens * width);
  };
  query_in_ = beside(query_, p.heads * p.head_dim);
  key_in_ = beside(key_, p.kv_heads * p.head_dim);
  gated_ = beside(gate_, InnerWidth(p));
  feed_forward_branch_ = beside(attention_branch_, p.width);
  normed_branch_ = beside(attention_branch_, p.width);
  positions_.reserve(static_cast<size_t>(max_tokens));
  if (p.experts == 0) return;
  router_logits_ = ops.Allocate(max_tokens * p.experts);
  routed_ = ops.Allocate(max_tokens * p.expert.used * p.width);
  expert_out_ = ops.Allocate(max_tokens * p.expert.used * p.width);
  routing_.Reserve(max_tokens, p.expert.used, p.experts);
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
  EmbedTokens(m_, ops_, *m_.embedding, ids, w_.residual_.get());
}

void ForwardPass::SetResidual(const float* residual) {
  std::copy_n(residual, tokens_ * p_.width, w_.residual_.get());
}

int64_t ForwardPass::InputWidth(Stage stage) const {
  switch (stage) {
    case Stage::kAttentionOutput:
      return p_.heads * p_.head_dim;
    case Stage::kDown:
      return p_.experts > 0 ? p_.expert.feed_forward : p_.feed_forward;
    default:
      return p_.width;
  }
}

const float* ForwardPass::Input(const LayerWeights& layer, Stage stage) {
  if (stage == Stage::kAttentionOutput) return w_.attended_.get();
  if (stage == Stage::kDown) return w_.gated_.get();
  const auto& norm = stage == Stage::kAttention ? layer.attention_norm : layer.feed_forward_norm;
  ops_.RmsNorm(w_.residual_.get(), norm.data(), p_.rms_eps, tokens_, p_.width, w_.normed_.get());
  if (stage == Stage::kAttention || layer.experts.empty()) return w_.normed_.get();
  Route(layer);
  return w_.routed_.get();
}

void ForwardPass::SetInput(Stage stage, const float* input, const Routing* routing) {
  if (routing != nullptr) w_.routing_ = *routing;
  const int64_t rows = routing != nullptr ? routing->rows() : tokens_;
  float* to = stage == Stage::kAttentionOutput ? w_.attended_.get()
              : stage == Stage::kDown          ? w_.gated_.get()
              : routing != nullptr             ? w_.routed_.get()
                                               : w_.normed_.get();
  std::copy_n(input, rows * InputWidth(stage), to);
}

// Sends each token to its experts.
void ForwardPass::Route(const LayerWeights& layer) {
  Routing& routing = w_.routing_;
  Multiply({{&layer.router, w_.router_logits_.get()}}, w_.normed_.get());
  routing.Resize(tokens_);
  ops_.ChooseExperts(w_.router_logits_.get(), tokens_, p_.experts, p_.expert.used,
                     p_.expert.normalized, routing.experts.data(), routing.weights.data());
  routing.Arrange();
  ops_.GatherRows(w_.normed_.get(), routing.token, p_.width, w_.routed_.get());
}

void ForwardPass::MultiplyExperts(const LayerWeights& layer, Stage stage) {
  const Routing& routing = w_.routing_;
  const int64_t inner = p_.expert.feed_forward;
  for (int64_t e = 0; e < p_.experts; ++e) {
    const int64_t at = routing.begin[static_cast<size_t>(e)];
    const int64_t rows = routing.begin[static_cast<size_t>(e) + 1] - at;
    if (rows == 0) continue;
    const Expert& expert = layer.experts[static_cast<size_t>(e)];
    if (stage == Stage::kFeedForward) {
      const MatrixProduct products[] = {{expert.gate.weight.get(), w_.gate_.get() + at * inner},
                                        {expert.up.weight.get(), w_.up_.get() + at * inner}};
      const float* x = w_.routed_.get() + at * p_.width;
      ops_.MatMulAll(products, x, rows);
      AddLowRank(expert.gate, x, rows, products[0].y);
      AddLowRank(expert.up, x, rows, products[1].y);
    } else {
      const float* x = w_.gated_.get() + at * inner;
      float* y = w_.expert_out_.get() + at * p_.width;
      ops_.MatMul(*expert.down.weight, x, rows, y);
      AddLowRank(expert.down, x, rows, y);
    }
  }
}

// Runs that turn alike are turned together: with factors for long contexts the sequence's context
// decides, so that a token's place in it does not.
void ForwardPass::Rotate(const LayerWeights& layer, float* x, int64_t heads, bool back) {
  const auto turn = [&](int64_t begin, int64_t end, bool long_context) {
    std::span<const float> frequency = m_.inverse_frequency.Of(layer.window > 0, long_context);
    std::vector<float> negative;
    if (back) {
      negative.assign(frequency.begin(), frequency.end());
      for (float& f : negative) f = -f;
      frequency = negative;
    }
    ops_.Rope(x + begin * heads * p_.head_dim, std::span(w_.positions_).subspan(begin, end - begin),
              heads, p_.head_dim, {m_.rope, frequency, p_.long_rope.magnitude});
  };
  if (p_.long_rope.long_factors.empty()) return turn(0, tokens_, false);
  int64_t begin = 0;
  for (const TokenRun& run : runs_) {
    turn(begin, begin + run.tokens, run.cache->context > p_.long_rope.original_context);
    begin += run.tokens;
  }
}

void ForwardPass::TurnBack(const LayerWeights& layer, float* x, int64_t heads) {
  Rotate(layer, x, heads, true);
}

void ForwardPass::Attend(const LayerWeights& layer, int64_t cache_layer) {
  if (!layer.query_norm.empty()) {
    ops_.RmsNorm(w_.query_in_.get(), layer.query_norm.data(), p_.rms_eps, tokens_ * p_.heads,
                 p_.head_dim, w_.query_.get());
  }
  if (!layer.key_norm.empty()) {
    ops_.RmsNorm(w_.key_in_.get(), layer.key_norm.data(), p_.rms_eps, tokens_ * p_.kv_heads,
                 p_.head_dim, w_.key_.get());
  }
  Rotate(layer, w_.query_.get(), p_.heads);
  Rotate(layer, w_.key_.get(), p_.kv_heads);
  ops_.Attention(runs_, cache_layer, w_.query_.get(), w_.key_.get(), w_.value_.get(),
                 {p_.attention_scale, p_.attention_softcap, layer.window}, w_.attended_.get());
}

void ForwardPass::Gate(int64_t count) {
  if (w_.gated_ != w_.gate_) std::copy_n(w_.gate_.get(), count, w_.gated_.get());
  if (m_.architecture->activation == Activation::kSilu) {
    ops_.SiluMultiply(w_.gated_.get(), w_.up_.get(), count);
  } else {
    ops_.GeluMultiply(w_.gated_.get(), w_.up_.get(), count);
  }
}

void ForwardPass::AddBranch(float* branch, const std::vector<float>& post_norm) {
  if (!post_norm.empty()) {
    float* normed = w_.normed_branch_.get();
    ops_.RmsNorm(branch, post_norm.data(), p_.rms_eps, tokens_, p_.width, normed);
    branch = normed;
  }
  ops_.Add(w_.residual_.get(), branch, tokens_ * p_.width);
}

void ForwardPass::Apply(const LayerWeights& layer, Stage stage, int64_t cache_layer) {
  const bool experts = !layer.experts.empty();
  switch (stage) {
    case Stage::kAttention:
      Multiply({{&layer.query, (layer.query_norm.empty() ? w_.query_ : w_.query_in_).get()},
                {&layer.key, (layer.key_norm.empty() ? w_.key_ : w_.key_in_).get()},
                {&layer.value, w_.value_.get()}},
               w_.normed_.get());
      return Attend(layer, cache_layer);
    case Stage::kAttentionOutput:
      Multiply({{&layer.attention_output, w_.attention_branch_.get()}}, w_.attended_.get());
      return AddBranch(w_.attention_branch_.get(), layer.attention_post_norm);
    case Stage::kFeedForward:
      if (experts) {
        MultiplyExperts(layer, stage);
      } else {
        Multiply({{&layer.gate, w_.gate_.get()}, {&layer.up, w_.up_.get()}}, w_.normed_.get());
      }
      return Gate(tokens_ * InnerWidth(p_));
    case Stage::kDown:
      if (experts) {
        MultiplyExperts(layer, stage);
        ops_.SumRows(w_.expert_out_.get(), w_.routing_.row, w_.routing_.weights.data(),
                     p_.expert.used, p_.width, w_.feed_forward_branch_.get());
      } else {
        Multiply({{&layer.down, w_.feed_forward_branch_.get()}}, w_.gated_.get());
      }
      return AddBranch(w_.feed_forward_branch_.get(), layer.feed_forward_post_norm);
  }
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
    if (!linear->bias.empty()) {
      ops_.AddBias(y, linear->bias.data(), tokens_, linear->weight->rows);
    }
    AddLowRank(*linear, x, tokens_, y);
  }
}

void ForwardPass::AddLowRank(const Linear& linear, const float* x, int64_t rows, float* y) {
  if (linear.low_rank == nullptr) return;
  const LowRank& low = *linear.low_rank;
  if (w_.max_tokens_ * low.rank > w_.low_rank_floats_) {
    w_.low_rank_floats_ = w_.max_tokens_ * low.rank;
    w_.low_rank_ = ops_.Allocate(w_.low_rank_floats_);
  }
  const int64_t cols = linear.weight->cols;
  if (dropout_.rate > 0) {
    if (w_.max_tokens_ * cols > w_.dropped_floats_) {
      w_.dropped_floats_ = w_.max_tokens_ * cols;
      w_.dropped_ = ops_.Allocate(w_.dropped_floats_);
    }
    ops_.DropOut(x, rows * cols, DropoutOf(dropout_, linear), w_.dropped_.get());
    x = w_.dropped_.get();
  }
  ops_.Multiply(low.a, low.rank, cols, x, rows, w_.low_rank_.get());
  ops_.AddProduct(w_.low_rank_.get(), low.b_turned, {rows, linear.weight->rows, low.rank},
                  low.scale, y);
}

Dropout DropoutOf(const Dropout& pass, const Linear& linear) {
  Fnv name;
  name.Add(linear.name);
  return {pass.rate, Mix(pass.key ^ Mix(name.hash() + static_cast<uint64_t>(linear.first_row)))};
}

LayerTrace ForwardPass::trace() const {
  return {w_.query_in_.get(),
          w_.key_in_.get(),
          w_.query_.get(),
          w_.key_.get(),
          w_.value_.get(),
          w_.attended_.get(),
          w_.attention_branch_.get(),
          w_.feed_forward_branch_.get(),
          w_.gate_.get(),
          w_.up_.get(),
          w_.gated_.get(),
          w_.router_logits_.get(),
          w_.routed_.get(),
          w_.expert_out_.get()};
}

namespace {

void Listen(const ForwardPass& pass, const LayerWeights& layer, Stage stage, const float* input,
            int64_t tokens, Tap& tap) {
  VisitLinears(layer, stage, [&](const Linear& linear, int64_t expert) {
    const int64_t cols = linear.weight->cols;
    if (expert < 0) {
      // Parts of one tensor meet the same.
      if (linear.first_row == 0) tap.OnInput(linear.name, input, tokens, cols);
      return;
    }
    const auto& begin = pass.routing().begin;
    const int64_t at = begin[static_cast<size_t>(expert)];
    tap.OnExpertInput(linear.name, expert, std::ssize(layer.experts), input + at * cols,
                      begin[static_cast<size_t>(expert) + 1] - at, cols);
  });
}

void RunLayers(ForwardPass& pass, const ModelWeights& model, int64_t tokens, Tap* tap) {
  for (int64_t l = 0; l < model.parameters.layers; ++l) {
    const LayerWeights& layer = model.layers[l];
    for (const Stage stage : kStages) {
      const float* input = pass.Input(layer, stage);
      if (tap != nullptr) Listen(pass, layer, stage, input, tokens, *tap);
      pass.Apply(layer, stage, l);
    }
  }
}

}  // namespace

void EmbedTokens(const ModelWeights& model, Ops& ops, const Matrix& matrix,
                 std::span<const int32_t> ids, float* y) {
  ops.EmbedRows(matrix, ids, y);
  if (model.embedding_scale == 1) return;
  ops.Scale(y, model.embedding_scale, std::ssize(ids) * model.parameters.width);
}

void MultiplyHead(const ModelWeights& model, Ops& ops, const float* output, int64_t rows,
                  float* logits) {
  const Hyperparameters& p = model.parameters;
  ops.MatMul(model.head(), output, rows, logits);
  if (!model.output.bias.empty()) {
    ops.AddBias(logits, model.output.bias.data(), rows, p.vocabulary);
  }
  if (p.output_softcap > 0) ops.SoftCap(logits, p.output_softcap, rows * p.vocabulary);
}

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
