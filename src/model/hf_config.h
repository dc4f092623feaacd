// config.json and generation_config.json of Hugging Face for a model that came without them.
//
// Written are the members that decide what the model computes, under the names of transformers'
// configuration classes. Rope parameters stand there twice: as transformers 5 has them
// (rope_parameters) and as older readers expect them (rope_theta, rope_scaling); so does which
// layers look back by a window (layer_types, and keys of single classes). Llama 3's scaling
// of frequencies is a tensor in GGUF and four numbers here: those of them that are in use are tried
// until one gives the tensor.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/hyperparameters.h"

namespace halftone {

// What a configuration says besides the hyperparameters.
struct HfModelFacts {
  bool tied = false;            // the embedding is the output matrix
  bool attention_bias = false;  // the attention's linear layers have biases
  bool mlp_bias = false;        // those of the feed-forward
  std::string dtype;            // of the weights as torch calls it: "bfloat16"
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;  // ids that end generation, the first of them eos
};

// Throws Error (kUnsupported), naming `source`, for what transformers has no words for.
std::string HfConfig(const Architecture& architecture, const Hyperparameters& parameters,
                     const HfModelFacts& facts, const std::string& source);
std::string HfGenerationConfig(const HfModelFacts& facts);

}  // namespace halftone
