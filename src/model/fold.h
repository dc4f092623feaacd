// Where a scale on the input channels of a stage can be taken back: the model computes the same if
// the columns of the stage's linear layers are multiplied and what makes their inputs is divided.
//
//   query, key, value   the norm before them
//   attention output    the rows of value: one for all query heads that share it
//   gate, up            the norm before them
//   down                the rows of up, since the activation is linear in them

#pragma once

#include <cstdint>
#include <vector>

#include "model/dialect.h"
#include "model/forward.h"

namespace halftone {

// The norm or the linear layer whose output is the stage's input and takes the inverse.
Role FoldRole(Stage stage);

// [InputWidth(stage)]: the element of the norm, or the row, that makes each input channel.
std::vector<int32_t> FoldSource(Stage stage, const Hyperparameters& parameters);

// Whether the tensor changes, apart from the linear layers' weights, when stages are scaled.
bool IsFolded(const RolePlace& place);

}  // namespace halftone
