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

// y = W x + b, with the name that calibration and error messages use (GGUF dialect).
struct Linear {
  std::string name;
  std::unique_ptr<Matrix> weight;
  std::vector<float> bias;  // [rows] or empty
};

struct LayerWeights {
  std::vector<float> attention_norm;     // [width]
  Linear query, key, value;              // [heads * head_dim, width], [kv_heads * head_dim, width]
  Linear attention_output;               // [width, heads * head_dim]
  std::vector<float> feed_forward_norm;  // [width]
  Linear gate, up;                       // [feed_forward, width]
  Linear down;                           // [width, feed_forward]
};

struct ModelWeights {
  const Architecture* architecture = nullptr;
  Hyperparameters parameters;
  RopeStyle rope = RopeStyle::kInterleaved;
  std::vector<float> inverse_frequency;  // [rope_dim / 2]

  std::unique_ptr<Matrix> embedding;  // [vocabulary, width]
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
