// Where a scale on the input channels of a stage can be taken back: the model computes the same if
// the columns of the stage's linear layers are multiplied and what makes their inputs is divided.
//
//   query, key, value   the norm before them
//   attention output    the rows of value: one for all query heads that share it
//   gate, up            the norm before them
//   down                the rows of up, since the activation is linear in them; of each expert its
//                       own
//
// Norms of heads and of what a branch adds to the residual stream stand on the other side of these
// linear layers and take nothing. Gate and up of experts take no scale: the router reads the norm
// before them, too, and is not to change.

#pragma once

#include <cstdint>
#include <vector>

#include "model/dialect.h"
#include "model/forward.h"

namespace halftone {

// What takes the inverse: a norm, or the linear layer whose output is the stage's input.
enum class Fold : uint8_t { kNone, kAttentionNorm, kValue, kFeedForwardNorm, kUp };

Fold FoldOf(const LayerWeights& layer, Stage stage);

// [columns of the stage's input]: the element of the norm, or the row of the linear layer, that
// makes each input channel.
std::vector<int32_t> FoldSource(Stage stage, const Hyperparameters& parameters);

// Whether the tensor changes, apart from the linear layers' weights, when stages are scaled.
// `experts`: whether the model has some.
bool IsFolded(const RolePlace& place, bool experts);

}  // namespace halftone
