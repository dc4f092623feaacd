// The numbers that shape a model, read from either dialect and written as GGUF metadata.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "tensor/checkpoint.h"

namespace halftone {

// Phi 3's rope: each pair's frequency has a divisor for short and one for long contexts.
struct LongRope {
  std::vector<float> long_factors, short_factors;  // [rope_dim / 2], or both empty
  int64_t original_context = 0;                    // the longest that is short, tokens
  float magnitude = 1;                             // that cosines and sines are multiplied by
};

// Mixtures of experts: a token's feed-forward is the weighted sum of some experts'.
struct ExpertShape {
  int64_t used = 0;          // by each token
  int64_t feed_forward = 0;  // of one expert
  bool normalized = true;    // the weights of those used sum to 1
};

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
  int64_t experts = 0;   // 0: none
  ExpertShape expert;
  float rms_eps = 0;
  // Scores of attention: q . k * scale, then cap * tanh(score / cap) where the cap is not 0; the
  // same of the logits.
  float attention_scale = 0;
  float attention_softcap = 0;
  float output_softcap = 0;
  // Tokens that a layer with a window sees, the last included; 0: no layer has one.
  int64_t window = 0;
  std::vector<bool> windowed;  // [layers] where there is a window, else empty
  float rope_base = 0;
  float rope_linear_factor = 1;  // positions are divided by it
  // Divisors of each pair's frequency, [rope_dim / 2], or empty for ones (Llama 3's scaling).
  std::vector<float> rope_factors;
  LongRope long_rope;
  // Of layers with a window, which know none of the scalings above; 0: as the others.
  float window_rope_base = 0;

  int64_t WindowOf(int64_t layer) const {
    return window > 0 && windowed[static_cast<size_t>(layer)] ? window : 0;
  }
  // base^(-2i / rope_dim) / factor, [rope_dim / 2], in f32 as transformers computes it.
  std::vector<float> InverseFrequencies(bool window_layer = false, bool long_context = false) const;
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

// More are not believed.
inline constexpr int64_t kMostLayers = 512;

// Of `layers` layers (at most kMostLayers), the last of each `period` sees everything, the others
// look back by a window; with a period of 0 all do.
std::vector<bool> WindowPattern(int64_t layers, int64_t period);

// Throws Error naming the key that is missing, of the wrong type or out of range.
Hyperparameters ReadHyperparameters(const Checkpoint& checkpoint, const Architecture& architecture);

// The metadata of a GGUF file for this model, in the order of llama.cpp's converter: general.* and
// <architecture>.* keys without those of the tokenizer.
Metadata GgufModelMetadata(const Architecture& architecture, const Hyperparameters& parameters,
                           const std::string& name, int64_t parameter_count);

}  // namespace halftone
