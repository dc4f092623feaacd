// A checkpoint bound to its architecture: every tensor at its role, made ready by a backend.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernel/ops.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "tensor/checkpoint.h"

namespace halftone {

// What LoRA adds to a linear layer: y += scale * B A x (Hu et al. 2021, arXiv:2106.09685). The
// floats are its owner's, which may change them between passes.
struct LowRank {
  int64_t rank = 0;
  float scale = 1;
  const float* a = nullptr;         // [rank, cols]
  const float* b_turned = nullptr;  // [rank, rows]: B's columns one behind the other
  std::shared_ptr<const void> owner;
};

// y = W x + b, with the name that calibration and error messages use (GGUF dialect). Several linear
// layers may be rows of one tensor: query, key and value where they are fused, all experts.
struct Linear {
  std::string name;                         // of the tensor
  int64_t first_row = 0;                    // of the tensor's rows
  std::shared_ptr<Matrix> weight;           // null: the layer has no such part
  std::vector<float> bias;                  // [rows] or empty
  std::shared_ptr<const LowRank> low_rank;  // or null
};

struct Expert {
  Linear gate, up;  // [expert.feed_forward, width]
  Linear down;      // [width, expert.feed_forward]
};

// Vectors are empty where the architecture has no such norm.
struct LayerWeights {
  std::vector<float> attention_norm;        // [width]
  Linear query, key, value;                 // [heads * head_dim, width], [kv_heads * head_dim, …]
  std::vector<float> query_norm, key_norm;  // [head_dim], of each head
  Linear attention_output;                  // [width, heads * head_dim]
  std::vector<float> attention_post_norm;   // [width]
  std::vector<float> feed_forward_norm;     // [width]
  Linear gate, up;                          // [feed_forward, width]
  Linear down;                              // [width, feed_forward]
  Linear router;                            // [experts, width]
  std::vector<Expert> experts;              // in place of gate, up and down
  std::vector<float> feed_forward_post_norm;  // [width]
  int64_t window = 0;                         // tokens that attention sees; 0: all
};

// The stages of a layer: the linear layers of a stage share one input.
enum class Stage : uint8_t {
  kAttention,        // query, key, value
  kAttentionOutput,  // attention_output
  kFeedForward,      // gate, up; also of each expert, whose input is what is routed to it
  kDown,             // down; of each expert
};
inline constexpr Stage kStages[] = {Stage::kAttention, Stage::kAttentionOutput, Stage::kFeedForward,
                                    Stage::kDown};

// The linear layers of a stage that may be on few levels, tensor by tensor, and within a tensor in
// the order of its rows. `expert`: -1 where it is none's.
template <class Layer, class Visit>
void VisitLinears(Layer& layer, Stage stage, Visit&& visit) {
  switch (stage) {
    case Stage::kAttention:
      visit(layer.query, int64_t{-1});
      visit(layer.key, int64_t{-1});
      visit(layer.value, int64_t{-1});
      return;
    case Stage::kAttentionOutput:
      visit(layer.attention_output, int64_t{-1});
      return;
    case Stage::kFeedForward:
      if (layer.experts.empty()) {
        visit(layer.gate, int64_t{-1});
        visit(layer.up, int64_t{-1});
      }
      for (size_t e = 0; e < layer.experts.size(); ++e) {
        visit(layer.experts[e].gate, static_cast<int64_t>(e));
      }
      for (size_t e = 0; e < layer.experts.size(); ++e) {
        visit(layer.experts[e].up, static_cast<int64_t>(e));
      }
      return;
    case Stage::kDown:
      if (layer.experts.empty()) visit(layer.down, int64_t{-1});
      for (size_t e = 0; e < layer.experts.size(); ++e) {
        visit(layer.experts[e].down, static_cast<int64_t>(e));
      }
      return;
  }
}

// All linear layers that may have a low-rank part, in the order of their stages, a router before
// its experts: visit(linear).
template <class Layer, class Visit>
void VisitAdaptable(Layer& layer, Visit&& visit) {
  for (const Stage stage : kStages) {
    if (stage == Stage::kFeedForward && !layer.experts.empty()) visit(layer.router);
    VisitLinears(layer, stage, [&](auto& linear, int64_t) { visit(linear); });
  }
}

// The names of a stage's tensors, each once.
std::vector<std::string> TensorNames(const LayerWeights& layer, Stage stage);

// A layer of the same form without its matrices, but for the router.
LayerWeights FormOf(const LayerWeights& layer);

// The rows of `tensor`, which has the linear layer's name, that are the linear layer.
std::shared_ptr<Matrix> PrepareLinear(Ops& ops, const Tensor& tensor, const Linear& linear,
                                      int64_t rows);

// How the layers turn their pairs.
struct Frequencies {
  std::vector<float> table[2][2];  // [with a window][in long contexts][rope_dim / 2]

  const std::vector<float>& Of(bool windowed, bool long_context) const {
    return table[windowed ? 1 : 0][long_context ? 1 : 0];
  }
};

struct ModelWeights {
  const Architecture* architecture = nullptr;
  Hyperparameters parameters;
  RopeStyle rope = RopeStyle::kInterleaved;
  Frequencies inverse_frequency;
  float embedding_scale = 1;

  std::shared_ptr<Matrix> embedding;  // [vocabulary, width]
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;  // [width]
  Linear output;                   // weight null: the embedding is the head too
  const Matrix& head() const { return output.weight ? *output.weight : *embedding; }

  uint64_t tensor_bytes = 0;  // of all tensors of the checkpoint
  // Bytes of weights that one generated token reads: everything but the embedding's other rows.
  uint64_t token_bytes = 0;
};

// Checks every shape against the hyperparameters. The checkpoint's data must outlive the result
// (its owners are kept). Throws Error naming the tensor.
ModelWeights BindWeights(const Checkpoint& checkpoint, Ops& ops);

}  // namespace halftone
