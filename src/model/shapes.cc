#include "model/shapes.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "model/dialect.h"

namespace halftone {
namespace {

using Shape = std::vector<int64_t>;

// Of a weight, outermost first; empty for roles whose readers check it themselves.
Shape ExpectedShape(Role role, const Hyperparameters& p) {
  const int64_t query = p.heads * p.head_dim, key = p.kv_heads * p.head_dim;
  switch (role) {
    case Role::kTokenEmbedding:
    case Role::kOutput:
      return {p.vocabulary, p.width};
    case Role::kOutputNorm:
    case Role::kAttentionNorm:
    case Role::kAttentionPostNorm:
    case Role::kFeedForwardNorm:
    case Role::kFeedForwardPostNorm:
      return {p.width};
    case Role::kQuery:
      return {query, p.width};
    case Role::kKey:
    case Role::kValue:
      return {key, p.width};
    case Role::kQueryKeyValue:
      return {query + 2 * key, p.width};
    case Role::kQueryNorm:
    case Role::kKeyNorm:
      return {p.head_dim};
    case Role::kAttentionOutput:
      return {p.width, query};
    case Role::kGate:
    case Role::kUp:
      return {p.feed_forward, p.width};
    case Role::kGateUp:
      return {2 * p.feed_forward, p.width};
    case Role::kDown:
      return {p.width, p.feed_forward};
    case Role::kRouter:
      return {p.experts, p.width};
    case Role::kExpertGate:
    case Role::kExpertUp:
      return {p.expert.feed_forward, p.width};
    case Role::kExpertDown:
      return {p.width, p.expert.feed_forward};
    case Role::kRopeFactors:
    case Role::kRopeFactorsLong:
    case Role::kRopeFactorsShort:
      return {};
  }
  return {};
}

}  // namespace

void CheckShapes(const Checkpoint& checkpoint, const Architecture& architecture,
                 const Hyperparameters& parameters) {
  for (const Tensor& tensor : checkpoint.tensors) {
    const auto place = PlaceOf(architecture, checkpoint.dialect, tensor.name);
    if (!place) continue;
    if (place->layer >= parameters.layers) {
      FailFormat("{}: tensor '{}' lies in layer {}, but the model's settings count {} from 0",
                 checkpoint.path, Printable(tensor.name), place->layer, parameters.layers);
    }
    Shape expected = ExpectedShape(place->role->role, parameters);
    if (expected.empty()) continue;
    if (IsExpert(place->role->role) && checkpoint.dialect == Dialect::kGguf) {
      expected.insert(expected.begin(), parameters.experts);
    }
    if (place->bias) expected = {expected[0]};
    if (tensor.shape != expected) {
      FailFormat("{}: tensor '{}' has shape {}, expected {} by the model's settings",
                 checkpoint.path, Printable(tensor.name), ShapeText(tensor.shape),
                 ShapeText(expected));
    }
  }
}

}  // namespace halftone
