// The loss of a batch of whole sequences, and its derivatives by the low-rank parts of the model's
// linear layers (LowRank in model/weights.h). Everything else is constant, on whatever grid it is.
//
// Forwards the residual stream before each layer is kept; backwards each layer is computed once
// more from it, unless all intermediate results of all layers were kept on the way (`remember`):
// half as much work again against memory. Sequences lie one behind the other without padding.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "kernel/ops.h"
#include "model/forward.h"
#include "model/weights.h"

namespace halftone {

inline constexpr int32_t kNotScored = -1;

struct TrainingBatch {
  std::vector<int32_t> tokens;
  std::vector<int64_t> lengths;  // of the sequences, which add up to the tokens
  // The token that should follow each, or kNotScored.
  std::vector<int32_t> targets;

  int64_t scored() const;
};

// Where a part's derivatives are added up: as LowRank's a and b_turned.
struct LowRankGradient {
  float* a;
  float* b_turned;
};
using LowRankGradients = std::unordered_map<const LowRank*, LowRankGradient>;

struct TrainingPassOptions {
  int64_t max_tokens = 0;        // in a batch
  int64_t longest_sequence = 0;  // tokens
  bool remember = false;
};

class TrainingPass {
 public:
  // The model must outlive the pass and be prepared for f32 activations.
  TrainingPass(const ModelWeights& model, std::shared_ptr<Ops> ops,
               const TrainingPassOptions& options);

  // Bytes of the buffers that a pass with these options has.
  static uint64_t Bytes(const Hyperparameters& parameters, const TrainingPassOptions& options);

  // The sum of -log p(target) over the scored tokens, in nats.
  double Loss(const TrainingBatch& batch);
  // The same; adds the derivatives of factor * the sum to `gradients`. `dropout`: of what meets the
  // A of each pair.
  double LossAndGradients(const TrainingBatch& batch, float factor,
                          const LowRankGradients& gradients, const Dropout& dropout = {});

 private:
  struct Derivative {
    const Linear* linear;
    const float* dy;
  };

  void Begin(const TrainingBatch& batch);
  // Positions that the cache of a sequence of so many tokens holds.
  int64_t ContextFor(int64_t length) const;
  Workspace& WorkspaceOf(int64_t layer) { return workspaces_[options_.remember ? layer : 0]; }
  float* Residual(int64_t layer) const { return residuals_.get() + layer * stream_; }
  float* Middle(int64_t layer) const {
    return middles_.get() + (options_.remember ? layer * stream_ : 0);
  }
  // Goes through a layer from Residual(layer); `again`: as far as derivatives need it.
  void RunLayer(ForwardPass& pass, int64_t layer, bool again);
  // From the last residual to the loss and, with `factor` not 0, back: to stream_back_.
  double Head(const TrainingBatch& batch, float factor);
  void BackThroughLayer(ForwardPass& pass, int64_t layer, const LowRankGradients& gradients);
  // From what the feed-forward gave to normed_back_; x: its normed input.
  void BackThroughFeedForward(const LayerTrace& trace, const LayerWeights& layer, const float* x,
                              const float* dy, const LowRankGradients& gradients);
  void BackThroughExperts(ForwardPass& pass, const LayerWeights& layer, const float* x,
                          const float* dy, const LowRankGradients& gradients);
  // From inner_back_, so many values, to gate_back_ and up_back_.
  void BackThroughGate(const LayerTrace& trace, int64_t count);
  // dx [rows, cols] += what the linear layers that share the input x give back.
  void BackThroughLinears(std::initializer_list<Derivative> derivatives, const float* x,
                          int64_t rows, float* dx, const LowRankGradients& gradients);
  // The same of its low-rank part.
  void BackThroughLowRank(const Derivative& derivative, const float* x, int64_t rows, float* dx,
                          const LowRankGradients& gradients);
  void BackThroughAttention(ForwardPass& pass, const LayerWeights& layer);

  const ModelWeights& m_;
  const Hyperparameters& p_;
  std::shared_ptr<Ops> ops_;
  TrainingPassOptions options_;
  int64_t stream_ = 0;  // floats of a residual stream
  int64_t tokens_ = 0;  // of the batch at hand
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::vector<TokenRun> runs_;
  std::vector<int64_t> lengths_;
  std::vector<Workspace> workspaces_;
  std::shared_ptr<float[]> residuals_;  // [layers + 1, max_tokens, width]
  std::shared_ptr<float[]> middles_;    // between attention and feed-forward, likewise or of one
  // Derivatives: of the residual stream, what a norm was given, what a branch gave.
  std::shared_ptr<float[]> stream_back_, normed_back_, branch_back_, normed_;
  std::shared_ptr<float[]> inner_back_, gate_back_, up_back_;
  // Of models with experts: of the weights of their sum, the router's logits, the rows that an
  // expert was given or gave.
  std::shared_ptr<float[]> weights_back_, router_back_, routed_back_;
  std::shared_ptr<float[]> attended_back_, query_back_, key_back_, value_back_;
  std::shared_ptr<float[]> low_, low_back_;
  int64_t low_floats_ = 0;
  Dropout dropout_;  // of the batch at hand
  // What of an input was not left out, and then its derivatives.
  std::shared_ptr<float[]> dropped_;
  int64_t dropped_floats_ = 0;
  // Of the scored tokens.
  std::vector<int32_t> scored_, targets_;
  std::shared_ptr<float[]> scored_rows_, scored_normed_, logits_, capped_;
  std::vector<double> losses_;
};

}  // namespace halftone
