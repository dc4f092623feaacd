// Hyperparameters out of a config.json of transformers 4 or 5.
//
// The versions differ in where they keep rope: rope_theta, rope_scaling and rope_local_base_freq in
// 4; rope_parameters in 5, for models with two kinds of layers one for each. Which layers look back
// by a window is layer_types in 5 and follows from other keys in 4. Models of text and images nest
// what belongs to the text in text_config. What a config does not say is what transformers assumes
// for its class (ConfigDefault).

#pragma once

#include "base/json.h"
#include "model/hyperparameters.h"

namespace halftone {

// Any larger and a product of two no longer fits in memory; also keeps int64 arithmetic safe.
inline constexpr int64_t kLargestDimension = int64_t{1} << 28;

// The part of a config that describes the text model: text_config, where there is one.
const Json& TextConfig(const Json& config);

// Not yet checked as a whole. Throws Error naming the key that is missing, of the wrong type or out
// of range, and kUnsupported for what the architecture cannot compute here.
Hyperparameters HfHyperparameters(const Checkpoint& checkpoint, const Architecture& architecture);

}  // namespace halftone
