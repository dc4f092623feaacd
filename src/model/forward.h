// The one forward pass: token ids in, logits out; whole, or stage by stage for whoever has to look
// at (or change) what meets each weight.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/ops.h"
#include "model/routing.h"
#include "model/weights.h"

namespace halftone {

// Sees the input of each linear layer: how calibration listens.
class Tap {
 public:
  virtual ~Tap() = default;
  // x: [tokens, cols], the activations that meet the weight of that name (GGUF dialect).
  virtual void OnInput(std::string_view weight, const float* x, int64_t tokens, int64_t cols) = 0;
  // The same of one matrix of `experts` in the tensor of that name; tokens may be 0.
  virtual void OnExpertInput(std::string_view weight, int64_t expert, int64_t experts,
                             const float* x, int64_t tokens, int64_t cols) = 0;
};

// Which of a layer's intermediate results stay until the next layer.
enum class Keep : uint8_t {
  kLittle,       // what becomes of a result may take its place
  kForAWayBack,  // what derivatives are made of (LayerTrace)
};

// What a pass through a layer leaves behind, apart from the residual stream; rows as in Workspace.
// query_in, key_in, branches and gate are what they were before the norm or gate that follows only
// if the workspace was made to keep them.
struct LayerTrace {
  const float *query_in, *key_in;    // before their norms; where there are none, not set
  const float *query, *key, *value;  // turned
  const float* attended;
  const float *attention_branch, *feed_forward_branch;  // before their norms
  const float *gate, *up;
  const float* gated;                                // what meets down
  const float *router_logits, *routed, *expert_out;  // null without experts
};

// Buffers of one forward pass, allocated once for the largest batch.
class Workspace {
 public:
  Workspace(const Hyperparameters& parameters, Ops& ops, int64_t max_tokens,
            Keep keep = Keep::kLittle);

  int64_t max_tokens() const { return max_tokens_; }

 private:
  friend class ForwardPass;
  int64_t max_tokens_;
  std::shared_ptr<float[]> residual_;  // [max_tokens, width]
  std::shared_ptr<float[]> normed_;    // [max_tokens, width]
  // [max_tokens, heads * head_dim] and [max_tokens, kv_heads * head_dim]. Those that are still
  // without norm may be the same buffers.
  std::shared_ptr<float[]> query_in_, query_, attended_;
  std::shared_ptr<float[]> key_in_, key_, value_;
  // [max_tokens, feed_forward], or of experts; gated_ may be gate_.
  std::shared_ptr<float[]> gate_, up_, gated_;
  // [max_tokens, width]; these too may be one.
  std::shared_ptr<float[]> attention_branch_, feed_forward_branch_, normed_branch_;
  // Of low-rank products, made when they are first needed: [max_tokens, low_rank_floats_ / that].
  std::shared_ptr<float[]> low_rank_;
  int64_t low_rank_floats_ = 0;
  std::shared_ptr<float[]> dropped_;  // what meets them, likewise
  int64_t dropped_floats_ = 0;
  // Of models with experts: [max_tokens, experts], and rows of max_tokens * used.
  std::shared_ptr<float[]> router_logits_, routed_, expert_out_;
  Routing routing_;
  std::vector<int64_t> positions_;  // of each token of the pass in progress
};

// A batch of tokens on its way through the layers. The buffers are the workspace's: one pass at a
// time may use it.
class ForwardPass {
 public:
  // Of several sequences; `runs` must outlive the pass.
  ForwardPass(const ModelWeights& model, Ops& ops, std::span<const TokenRun> runs,
              Workspace& workspace);
  // Of one sequence, at positions [position, position + tokens).
  ForwardPass(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
              int64_t tokens, int64_t position);
  ForwardPass(const ForwardPass&) = delete;
  ForwardPass& operator=(const ForwardPass&) = delete;

  // Begins with the embeddings of `ids`, or with a residual stream [tokens, width] from elsewhere.
  void Embed(std::span<const int32_t> ids);
  void SetResidual(const float* residual);
  const float* residual() const { return w_.residual_.get(); }
  // Of what meets the A of low-rank parts, of each layer's by a key of its own (DropoutOf). None
  // unless it is set.
  void SetDropout(const Dropout& dropout) { dropout_ = dropout; }

  // The input of the stage's linear layers, [tokens, cols]; of experts [routing().rows(), cols].
  // The stages of a layer come in their order, or begin with an input from elsewhere (SetInput,
  // with the routing that it has).
  const float* Input(const LayerWeights& layer, Stage stage);
  void SetInput(Stage stage, const float* input, const Routing* routing = nullptr);
  // Applies them and what follows up to the next stage's input or the residual stream.
  // `cache_layer`: the layer's place in the cache.
  void Apply(const LayerWeights& layer, Stage stage, int64_t cache_layer);

  // What meets the output matrix: the last `rows` tokens, normed, [rows, width].
  const float* Output(int64_t rows);
  // The same of each run's last token, [runs, width]. Ends the pass: it moves the residual stream.
  const float* OutputOfRuns();

  // Columns of a stage's input.
  int64_t InputWidth(Stage stage) const;
  // Which rows of the input of gate, up and down are whose, in a model with experts.
  const Routing& routing() const { return w_.routing_; }
  // Input of kFeedForward before it is routed, [tokens, width].
  const float* normed() const { return w_.normed_.get(); }
  // Of the layer that the pass went through last.
  LayerTrace trace() const;
  // Turns x [tokens, heads, head_dim] back: what the rotation of queries or keys gave becomes what
  // it was given, derivatives likewise.
  void TurnBack(const LayerWeights& layer, float* x, int64_t heads);

 private:
  void Begin();
  void Rotate(const LayerWeights& layer, float* x, int64_t heads, bool back = false);
  void Attend(const LayerWeights& layer, int64_t cache_layer);
  void Route(const LayerWeights& layer);
  void MultiplyExperts(const LayerWeights& layer, Stage stage);
  // The product of gate and up, for so many values.
  void Gate(int64_t count);
  // Adds what attention or feed-forward gave to the residual stream.
  void AddBranch(float* branch, const std::vector<float>& post_norm);
  // Matrices that share the input x, and where their outputs go.
  void Multiply(std::initializer_list<std::pair<const Linear*, float*>> linears, const float* x);
  // What the layer's low-rank part, if it has one, makes of x [rows, cols].
  void AddLowRank(const Linear& linear, const float* x, int64_t rows, float* y);

  const ModelWeights& m_;
  const Hyperparameters& p_;
  Ops& ops_;
  TokenRun single_;
  std::span<const TokenRun> runs_;
  Workspace& w_;
  int64_t tokens_ = 0;
  Dropout dropout_;
};

// A pass's dropout before one of its linear layers.
Dropout DropoutOf(const Dropout& pass, const Linear& linear);

// The embeddings of tokens, scaled as the model wants them: y [ids.size(), width]. `matrix`: the
// embedding or what stands for it.
void EmbedTokens(const ModelWeights& model, Ops& ops, const Matrix& matrix,
                 std::span<const int32_t> ids, float* y);

// logits [rows, vocabulary] of what meets the output matrix, [rows, width].
void MultiplyHead(const ModelWeights& model, Ops& ops, const float* output, int64_t rows,
                  float* logits);

// Runs tokens at positions [position, position + tokens.size()) of the cache's sequence and writes
// the logits of the tokens from index `first_logit` on to logits, [tokens - first_logit,
// vocabulary]. At most workspace.max_tokens() tokens; token ids must be inside the vocabulary.
void Forward(const ModelWeights& model, Ops& ops, KvCache& cache, Workspace& workspace,
             std::span<const int32_t> tokens, int64_t position, int64_t first_logit, float* logits,
             Tap* tap = nullptr);

// Runs the tokens of all runs, which lie one behind the other, and writes the logits of each run's
// last token to logits, [runs, vocabulary]: bit for bit what each run alone gives.
void Forward(const ModelWeights& model, Ops& ops, std::span<const TokenRun> runs,
             Workspace& workspace, std::span<const int32_t> tokens, float* logits);

}  // namespace halftone
