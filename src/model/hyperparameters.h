// The numbers that shape a model, read from either dialect and written as GGUF metadata.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "tensor/checkpoint.h"

namespace halftone {

struct Hyperparameters {
  int64_t vocabulary = 0;  // rows of the embedding
  int64_t context = 0;     // tokens the model was trained for
  int64_t width = 0;       // of the residual stream
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t feed_forward = 0;
  int64_t rope_dim = 0;  // values of each head that turn
  int64_t experts = 0;
  float rms_eps = 0;
  float rope_base = 0;
  float rope_linear_factor = 1;  // positions are divided by it
  // Divisors of each pair's frequency, [rope_dim / 2], or empty for ones (Llama 3's scaling).
  std::vector<float> rope_factors;

  // base^(-2i / rope_dim) / factor, [rope_dim / 2], in f32 as transformers computes it.
  std::vector<float> InverseFrequencies() const;
};

// Llama 3's frequency scaling: long waves are stretched by `factor`, short ones are kept, those
// between are blended (transformers, modeling_rope_utils: rope_type "llama3").
struct Llama3Scaling {
  double factor = 1;
  double low = 1;      // waves longer than trained / low are long,
  double high = 4;     // shorter than trained / high short
  double trained = 0;  // the context before scaling, tokens

  // Divisors of each pair's frequency, [rope_dim / 2].
  std::vector<float> Factors(int64_t rope_dim, float rope_base) const;
};

// Throws Error naming the key that is missing, of the wrong type or out of range.
Hyperparameters ReadHyperparameters(const Checkpoint& checkpoint, const Architecture& architecture);

// The metadata of a GGUF file for this model, in the order of llama.cpp's converter: general.* and
// <architecture>.* keys without those of the tokenizer.
Metadata GgufModelMetadata(const Architecture& architecture, const Hyperparameters& parameters,
                           const std::string& name, int64_t parameter_count);

}  // namespace halftone
