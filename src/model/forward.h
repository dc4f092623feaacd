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
  std::vector<int64_t> positions_;             // of each token of the pass in progress
};

// The stages of a layer: the linear layers of a stage share one input.
enum class Stage : uint8_t {
  kAttention,        // query, key, value
  kAttentionOutput,  // attention_output
  kFeedForward,      // gate, up
  kDown,             // down
};
inline constexpr Stage kStages[] = {Stage::kAttention, Stage::kAttentionOutput, Stage::kFeedForward,
                                    Stage::kDown};

// The linear layers of a stage, as members of LayerWeights.
std::span<Linear LayerWeights::*const> LinearsOf(Stage stage);

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

  // The input of the stage's linear layers, [tokens, cols]. The stages of a layer come in their
  // order, or begin with an input from elsewhere (SetInput).
  const float* Input(const LayerWeights& layer, Stage stage);
  void SetInput(Stage stage, const float* input);
  // Applies them and what follows up to the next stage's input or the residual stream.
  // `cache_layer`: the layer's place in the cache.
  void Apply(const LayerWeights& layer, Stage stage, int64_t cache_layer);

  // What meets the output matrix: the last `rows` tokens, normed, [rows, width].
  const float* Output(int64_t rows);
  // The same of each run's last token, [runs, width]. Ends the pass: it moves the residual stream.
  const float* OutputOfRuns();

  // Columns of a stage's input.
  int64_t InputWidth(Stage stage) const;

 private:
  void Begin();
  // Matrices that share the input x, and where their outputs go.
  void Multiply(std::initializer_list<std::pair<const Linear*, float*>> linears, const float* x);

  const ModelWeights& m_;
  const Hyperparameters& p_;
  Ops& ops_;
  TokenRun single_;
  std::span<const TokenRun> runs_;
  Workspace& w_;
  int64_t tokens_ = 0;
};

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
