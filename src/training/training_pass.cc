#include "training/training_pass.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace halftone {
namespace {

// Tokens whose logits exist together: as many as 64 MB hold, since the output matrix is decoded
// anew for each such block.
int64_t HeadTokens(const Hyperparameters& p) {
  constexpr int64_t kFloats = 16 << 20;
  return std::clamp<int64_t>(kFloats / p.vocabulary, 32, 512);
}

// Values of gate and up for each token, and of what meets the experts that it uses.
int64_t InnerWidth(const Hyperparameters& p) {
  return p.experts > 0 ? p.expert.used * p.expert.feed_forward : p.feed_forward;
}
int64_t RoutedWidth(const Hyperparameters& p) {
  return p.experts > 0 ? p.expert.used * p.width : 0;
}

// Floats for each token of a workspace, and of the pass's own buffers; both roughly in the order of
// their members.
uint64_t FloatsOfWorkspace(const Hyperparameters& p) {
  const int64_t query = p.heads * p.head_dim, key = p.kv_heads * p.head_dim;
  return static_cast<uint64_t>(5 * p.width + 3 * query + 3 * key + 3 * InnerWidth(p) +
                               2 * RoutedWidth(p) + p.experts);
}

}  // namespace

int64_t TrainingBatch::scored() const {
  return std::ranges::count_if(targets, [](int32_t target) { return target != kNotScored; });
}

uint64_t TrainingPass::Bytes(const Hyperparameters& p, const TrainingPassOptions& options) {
  const int64_t query = p.heads * p.head_dim, key = p.kv_heads * p.head_dim;
  const auto layers = static_cast<uint64_t>(options.remember ? p.layers : 1);
  const uint64_t each =
      FloatsOfWorkspace(p) * layers +
      static_cast<uint64_t>(p.width) * (static_cast<uint64_t>(p.layers) + 1 + layers) +
      static_cast<uint64_t>(6 * p.width + 3 * InnerWidth(p) + 4 * query + 4 * key + RoutedWidth(p) +
                            p.expert.used + p.experts);
  const uint64_t head =
      static_cast<uint64_t>(HeadTokens(p) * p.vocabulary) * (p.output_softcap > 0 ? 2 : 1);
  return 4 * (each * static_cast<uint64_t>(options.max_tokens) + head);
}

TrainingPass::TrainingPass(const ModelWeights& model, std::shared_ptr<Ops> ops,
                           const TrainingPassOptions& options)
    : m_(model), p_(model.parameters), ops_(std::move(ops)), options_(options) {
  const int64_t tokens = options.max_tokens, query = p_.heads * p_.head_dim,
                key = p_.kv_heads * p_.head_dim;
  const auto of = [&](int64_t width) { return ops_->Allocate(tokens * width); };
  stream_ = tokens * p_.width;
  const int64_t kept = options.remember ? p_.layers : 1;
  for (int64_t l = 0; l < kept; ++l) {
    workspaces_.emplace_back(p_, *ops_, tokens, Keep::kForAWayBack);
  }
  residuals_ = ops_->Allocate(stream_ * (p_.layers + 1));
  middles_ = ops_->Allocate(stream_ * kept);
  for (auto* buffer :
       {&stream_back_, &normed_back_, &branch_back_, &normed_, &scored_rows_, &scored_normed_}) {
    *buffer = of(p_.width);
  }
  for (auto* buffer : {&inner_back_, &gate_back_, &up_back_}) *buffer = of(InnerWidth(p_));
  if (p_.experts > 0) {
    weights_back_ = of(p_.expert.used);
    router_back_ = of(p_.experts);
    routed_back_ = of(RoutedWidth(p_));
  }
  for (auto* buffer : {&attended_back_, &query_back_}) *buffer = of(query);
  for (auto* buffer : {&key_back_, &value_back_}) *buffer = of(key);
  logits_ = ops_->Allocate(HeadTokens(p_) * p_.vocabulary);
  if (p_.output_softcap > 0) capped_ = ops_->Allocate(HeadTokens(p_) * p_.vocabulary);
}

void TrainingPass::Begin(const TrainingBatch& batch) {
  tokens_ = std::ssize(batch.tokens);
  lengths_ = batch.lengths;
  if (tokens_ > options_.max_tokens) {
    FailUsage("a batch of {} tokens is more than the {} that training is prepared for", tokens_,
              options_.max_tokens);
  }
  runs_.clear();
  for (size_t i = 0; i < lengths_.size(); ++i) {
    if (i == caches_.size()) caches_.emplace_back();
    const int64_t context = ContextFor(lengths_[i]);
    if (caches_[i] == nullptr || caches_[i]->context != context) {
      caches_[i] = ops_->MakeCache({p_.heads, p_.kv_heads, p_.head_dim, 1, context}, F32Grid());
    }
    runs_.push_back({caches_[i].get(), 0, lengths_[i]});
  }
  EmbedTokens(m_, *ops_, *m_.embedding, batch.tokens, Residual(0));
}

// One size for all sequences, but for models that turn differently in long contexts.
int64_t TrainingPass::ContextFor(int64_t length) const {
  const int64_t longest = options_.longest_sequence;
  const bool two_ways = !p_.long_rope.long_factors.empty();
  if (!two_ways || length > p_.long_rope.original_context) return longest;
  return std::min(longest, p_.long_rope.original_context);
}

void TrainingPass::RunLayer(ForwardPass& pass, int64_t l, bool again) {
  const LayerWeights& layer = m_.layers[static_cast<size_t>(l)];
  pass.SetDropout(dropout_);
  pass.SetResidual(Residual(l));
  for (const Stage stage : kStages) {
    pass.Input(layer, stage);
    // What down gives is part of the next residual, and needed only where a norm or the weights of
    // a sum follow.
    const bool needed = !layer.feed_forward_post_norm.empty() || !layer.experts.empty();
    if (again && stage == Stage::kDown && !needed) return;
    pass.Apply(layer, stage, 0);
    if (stage == Stage::kAttentionOutput) {
      std::copy_n(pass.residual(), tokens_ * p_.width, Middle(l));
    }
  }
  if (!again) std::copy_n(pass.residual(), tokens_ * p_.width, Residual(l + 1));
}

double TrainingPass::Loss(const TrainingBatch& batch) { return LossAndGradients(batch, 0, {}); }

double TrainingPass::LossAndGradients(const TrainingBatch& batch, float factor,
                                      const LowRankGradients& gradients, const Dropout& dropout) {
  dropout_ = dropout;
  Begin(batch);
  for (int64_t l = 0; l < p_.layers; ++l) {
    ForwardPass pass(m_, *ops_, runs_, WorkspaceOf(l));
    RunLayer(pass, l, false);
  }
  const double loss = Head(batch, factor);
  if (factor == 0) return loss;
  for (int64_t l = p_.layers - 1; l >= 0; --l) {
    ForwardPass pass(m_, *ops_, runs_, WorkspaceOf(l));
    if (!options_.remember) RunLayer(pass, l, true);
    BackThroughLayer(pass, l, gradients);
  }
  return loss;
}

double TrainingPass::Head(const TrainingBatch& batch, float factor) {
  scored_.clear();
  targets_.clear();
  for (int64_t t = 0; t < tokens_; ++t) {
    if (batch.targets[static_cast<size_t>(t)] == kNotScored) continue;
    scored_.push_back(static_cast<int32_t>(t));
    targets_.push_back(batch.targets[static_cast<size_t>(t)]);
  }
  const int64_t count = std::ssize(scored_), width = p_.width;
  ops_->GatherRows(Residual(p_.layers), scored_, width, scored_rows_.get());
  ops_->RmsNorm(scored_rows_.get(), m_.output_norm.data(), p_.rms_eps, count, width,
                scored_normed_.get());
  losses_.resize(static_cast<size_t>(count));
  // Each row of scored_normed_ makes place for its derivatives.
  const int64_t together = HeadTokens(p_);
  for (int64_t begin = 0; begin < count; begin += together) {
    const int64_t n = std::min(together, count - begin), size = n * p_.vocabulary;
    float* rows = scored_normed_.get() + begin * width;
    MultiplyHead(m_, *ops_, rows, n, logits_.get());
    if (capped_ != nullptr) std::copy_n(logits_.get(), size, capped_.get());
    ops_->CrossEntropy(logits_.get(), std::span(targets_).subspan(begin, n), p_.vocabulary, factor,
                       losses_.data() + begin);
    if (factor == 0) continue;
    if (capped_ != nullptr) {
      ops_->SoftCapBack(capped_.get(), p_.output_softcap, size, logits_.get());
    }
    std::fill_n(rows, n * width, 0.0f);
    ops_->MatMulBack(m_.head(), logits_.get(), n, rows);
  }
  if (factor != 0) {
    ops_->RmsNormBack(scored_rows_.get(), m_.output_norm.data(), p_.rms_eps, scored_normed_.get(),
                      count, width, scored_normed_.get());
    std::fill_n(stream_back_.get(), tokens_ * width, 0.0f);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(scored_normed_.get() + i * width, width,
                  stream_back_.get() + scored_[static_cast<size_t>(i)] * width);
    }
  }
  return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

void TrainingPass::BackThroughLayer(ForwardPass& pass, int64_t l,
                                    const LowRankGradients& gradients) {
  const LayerWeights& layer = m_.layers[static_cast<size_t>(l)];
  const LayerTrace trace = pass.trace();
  float* stream = stream_back_.get();
  float* normed = normed_.get();
  const auto norm = [&](const float* x, const std::vector<float>& weight) {
    ops_->RmsNorm(x, weight.data(), p_.rms_eps, tokens_, p_.width, normed);
    return normed;
  };
  // The derivatives of what a branch gave, before the norm that may follow it.
  const auto branch = [&](const float* given, const std::vector<float>& post_norm) -> const float* {
    if (post_norm.empty()) return stream;
    ops_->RmsNormBack(given, post_norm.data(), p_.rms_eps, stream, tokens_, p_.width,
                      branch_back_.get());
    return branch_back_.get();
  };
  // The branch's input was normed: its share joins the stream.
  const auto join = [&](const float* x, const std::vector<float>& weight) {
    float* back = normed_back_.get();
    ops_->RmsNormBack(x, weight.data(), p_.rms_eps, back, tokens_, p_.width, back);
    ops_->Add(stream, back, tokens_ * p_.width);
  };

  const float* middle = Middle(l);
  const float* dy = branch(trace.feed_forward_branch, layer.feed_forward_post_norm);
  const float* x = norm(middle, layer.feed_forward_norm);
  if (layer.experts.empty()) {
    BackThroughFeedForward(trace, layer, x, dy, gradients);
  } else {
    BackThroughExperts(pass, layer, x, dy, gradients);
  }
  join(middle, layer.feed_forward_norm);

  std::fill_n(attended_back_.get(), tokens_ * p_.heads * p_.head_dim, 0.0f);
  BackThroughLinears(
      {{&layer.attention_output, branch(trace.attention_branch, layer.attention_post_norm)}},
      trace.attended, tokens_, attended_back_.get(), gradients);
  BackThroughAttention(pass, layer);
  std::fill_n(normed_back_.get(), tokens_ * p_.width, 0.0f);
  BackThroughLinears({{&layer.query, query_back_.get()},
                      {&layer.key, key_back_.get()},
                      {&layer.value, value_back_.get()}},
                     norm(Residual(l), layer.attention_norm), tokens_, normed_back_.get(),
                     gradients);
  join(Residual(l), layer.attention_norm);
}

void TrainingPass::BackThroughGate(const LayerTrace& trace, int64_t count) {
  if (m_.architecture->activation == Activation::kSilu) {
    ops_->SiluMultiplyBack(trace.gate, trace.up, inner_back_.get(), count, gate_back_.get(),
                           up_back_.get());
  } else {
    ops_->GeluMultiplyBack(trace.gate, trace.up, inner_back_.get(), count, gate_back_.get(),
                           up_back_.get());
  }
}

void TrainingPass::BackThroughFeedForward(const LayerTrace& trace, const LayerWeights& layer,
                                          const float* x, const float* dy,
                                          const LowRankGradients& gradients) {
  const int64_t inner = tokens_ * p_.feed_forward;
  std::fill_n(inner_back_.get(), inner, 0.0f);
  BackThroughLinears({{&layer.down, dy}}, trace.gated, tokens_, inner_back_.get(), gradients);
  BackThroughGate(trace, inner);
  std::fill_n(normed_back_.get(), tokens_ * p_.width, 0.0f);
  BackThroughLinears({{&layer.gate, gate_back_.get()}, {&layer.up, up_back_.get()}}, x, tokens_,
                     normed_back_.get(), gradients);
}

void TrainingPass::BackThroughExperts(ForwardPass& pass, const LayerWeights& layer, const float* x,
                                      const float* dy, const LowRankGradients& gradients) {
  const LayerTrace trace = pass.trace();
  const Routing& routing = pass.routing();
  const int64_t width = p_.width, inner = p_.expert.feed_forward, used = p_.expert.used;
  float* routed_back = routed_back_.get();
  const auto each = [&](const auto& run) {
    for (size_t e = 0; e < layer.experts.size(); ++e) {
      const int64_t at = routing.begin[e], rows = routing.begin[e + 1] - at;
      if (rows > 0) run(layer.experts[e], at, rows);
    }
  };
  ops_->SumRowsBack(trace.expert_out, routing.row, routing.weights.data(), used, width, dy,
                    routed_back, weights_back_.get());
  std::fill_n(inner_back_.get(), routing.rows() * inner, 0.0f);
  each([&](const Expert& expert, int64_t at, int64_t rows) {
    BackThroughLinears({{&expert.down, routed_back + at * width}}, trace.gated + at * inner, rows,
                       inner_back_.get() + at * inner, gradients);
  });
  BackThroughGate(trace, routing.rows() * inner);
  std::fill_n(routed_back, routing.rows() * width, 0.0f);
  each([&](const Expert& expert, int64_t at, int64_t rows) {
    BackThroughLinears(
        {{&expert.gate, gate_back_.get() + at * inner}, {&expert.up, up_back_.get() + at * inner}},
        trace.routed + at * width, rows, routed_back + at * width, gradients);
  });
  ops_->SumRows(routed_back, routing.row, nullptr, used, width, normed_back_.get());
  ops_->ChooseExpertsBack(trace.router_logits, tokens_, p_.experts, used, p_.expert.normalized,
                          routing.experts.data(), routing.weights.data(), weights_back_.get(),
                          router_back_.get());
  BackThroughLinears({{&layer.router, router_back_.get()}}, x, tokens_, normed_back_.get(),
                     gradients);
}

// From attended_back_ to the derivatives of what the query, key and value layers gave.
void TrainingPass::BackThroughAttention(ForwardPass& pass, const LayerWeights& layer) {
  const LayerTrace trace = pass.trace();
  const AttentionShape shape{p_.heads, p_.kv_heads, p_.head_dim, 1, options_.longest_sequence};
  ops_->AttentionBack(lengths_, shape, trace.query, trace.key, trace.value,
                      {p_.attention_scale, p_.attention_softcap, layer.window},
                      attended_back_.get(), query_back_.get(), key_back_.get(), value_back_.get());
  const auto back = [&](float* x, int64_t heads, const float* in, const std::vector<float>& norm) {
    pass.TurnBack(layer, x, heads);
    if (norm.empty()) return;
    ops_->RmsNormBack(in, norm.data(), p_.rms_eps, x, tokens_ * heads, p_.head_dim, x);
  };
  back(query_back_.get(), p_.heads, trace.query_in, layer.query_norm);
  back(key_back_.get(), p_.kv_heads, trace.key_in, layer.key_norm);
}

void TrainingPass::BackThroughLinears(std::initializer_list<Derivative> derivatives, const float* x,
                                      int64_t rows, float* dx, const LowRankGradients& gradients) {
  for (const Derivative& derivative : derivatives) {
    ops_->MatMulBack(*derivative.linear->weight, derivative.dy, rows, dx);
    if (derivative.linear->low_rank == nullptr) continue;
    BackThroughLowRank(derivative, x, rows, dx, gradients);
  }
}

void TrainingPass::BackThroughLowRank(const Derivative& derivative, const float* x, int64_t rows,
                                      float* dx, const LowRankGradients& gradients) {
  const auto& [linear, dy] = derivative;
  const LowRank& low = *linear->low_rank;
  const int64_t rank = low.rank, outputs = linear->weight->rows, cols = linear->weight->cols;
  if (options_.max_tokens * rank > low_floats_) {
    low_floats_ = options_.max_tokens * rank;
    low_ = ops_->Allocate(low_floats_);
    low_back_ = ops_->Allocate(low_floats_);
  }
  const bool drops = dropout_.rate > 0;
  if (drops && options_.max_tokens * cols > dropped_floats_) {
    dropped_floats_ = options_.max_tokens * cols;
    dropped_ = ops_->Allocate(dropped_floats_);
  }
  const Dropout dropout = DropoutOf(dropout_, *linear);
  // y = scale * (x a^T) b_turned, x being what was not left out.
  ops_->Multiply(low.b_turned, rank, outputs, dy, rows, low_back_.get());
  const auto gradient = gradients.find(&low);
  if (gradient != gradients.end()) {
    if (drops) {
      ops_->DropOut(x, rows * cols, dropout, dropped_.get());
      x = dropped_.get();
    }
    ops_->Multiply(low.a, rank, cols, x, rows, low_.get());
    ops_->AddTurnedProduct(low_.get(), dy, {rank, outputs, rows}, low.scale,
                           gradient->second.b_turned);
    ops_->AddTurnedProduct(low_back_.get(), x, {rank, cols, rows}, low.scale, gradient->second.a);
  }
  if (!drops) {
    ops_->AddProduct(low_back_.get(), low.a, {rows, cols, rank}, low.scale, dx);
    return;
  }
  float* share = dropped_.get();
  std::fill_n(share, rows * cols, 0.0f);
  ops_->AddProduct(low_back_.get(), low.a, {rows, cols, rank}, low.scale, share);
  ops_->DropOut(share, rows * cols, dropout, share);
  ops_->Add(dx, share, rows * cols);
}

}  // namespace halftone
