#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "grid/grouped.h"
#include "model/dialect.h"
#include "model/shapes.h"
#include "tensor/composed.h"

namespace halftone {
namespace {

class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const Architecture& architecture, Ops& ops)
      : checkpoint_(checkpoint), architecture_(architecture), ops_(ops) {
    for (const Tensor& tensor : checkpoint.tensors) by_name_.emplace(tensor.name, &tensor);
  }

  bool Has(Role role) const { return FindRole(architecture_, role) != nullptr; }

  // Null if the checkpoint has no such tensor.
  const Tensor* Find(Role role, int64_t layer, bool bias = false) const {
    const auto it = by_name_.find(Name(checkpoint_.dialect, role, layer, bias));
    return it == by_name_.end() ? nullptr : it->second;
  }

  std::unique_ptr<Matrix> Weight(Role role, int64_t layer, int64_t rows, int64_t cols) const {
    return ops_.Prepare(Shaped(role, layer, {rows, cols}));
  }

  // Rows [first, first + rows) of a tensor that has `all`.
  Linear Part(Role role, int64_t layer, int64_t first, int64_t rows, int64_t all,
              int64_t cols) const {
    Linear linear;
    linear.name = Name(Dialect::kGguf, role, layer, false);
    linear.first_row = first;
    linear.weight = Prepared(Shaped(role, layer, {all, cols}), linear, rows);
    if (const Tensor* bias = Find(role, layer, true)) {
      CheckShape(*bias, {all});
      const std::vector<float> whole = Decode(*bias);
      linear.bias.assign(whole.begin() + first, whole.begin() + first + rows);
    }
    return linear;
  }

  Linear MakeLinear(Role role, int64_t layer, int64_t rows, int64_t cols) const {
    return Part(role, layer, 0, rows, rows, cols);
  }

  // One of `experts` matrices: in one tensor in GGUF, in a tensor of its own in the other dialect.
  Linear ExpertLinear(Role role, int64_t layer, int64_t expert, int64_t experts, int64_t rows,
                      int64_t cols) const {
    Linear linear;
    linear.name = Name(Dialect::kGguf, role, layer, false);
    linear.first_row = expert * rows;
    if (checkpoint_.dialect == Dialect::kGguf) {
      linear.weight = Prepared(Shaped(role, layer, {experts, rows, cols}), linear, rows);
      return linear;
    }
    const RolePlace place{FindRole(architecture_, role), layer, false, expert};
    const Tensor& tensor = Named(NameInDialect(checkpoint_.dialect, place));
    CheckShape(tensor, {rows, cols});
    linear.weight = Prepared(tensor, Linear{}, rows);
    return linear;
  }

  // A norm's weights as they multiply; empty where the architecture has no such norm.
  std::vector<float> Norm(Role role, int64_t layer, int64_t size) const {
    if (!Has(role)) return {};
    std::vector<float> values = Decode(Shaped(role, layer, {size}));
    if (checkpoint_.dialect == Dialect::kHuggingFace) {
      for (float& value : values) value += architecture_.norm_offset;
    }
    return values;
  }

 private:
  std::shared_ptr<Matrix> Prepared(const Tensor& tensor, const Linear& linear, int64_t rows) const {
    if (checkpoint_.int8_threshold && IsAbsmaxRows(*tensor.grid)) {
      const bool all = tensor.rows() == rows;
      return ops_.PrepareInt8(all ? tensor : RowsOf(tensor, tensor.name, linear.first_row, rows),
                              *checkpoint_.int8_threshold);
    }
    return PrepareLinear(ops_, tensor, linear, rows);
  }

  const Tensor& Named(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? checkpoint_.Get(name) : *it->second;
  }

  const Tensor& Shaped(Role role, int64_t layer, const std::vector<int64_t>& shape) const {
    const Tensor& tensor = Named(Name(checkpoint_.dialect, role, layer, false));
    CheckShape(tensor, shape);
    return tensor;
  }

  std::string Name(Dialect dialect, Role role, int64_t layer, bool bias) const {
    return NameInDialect(dialect, architecture_, role, layer, bias);
  }

  void CheckShape(const Tensor& tensor, const std::vector<int64_t>& expected) const {
    if (tensor.shape != expected) {
      FailFormat("{}: tensor '{}' has shape {}, expected {}", checkpoint_.path, tensor.name,
                 ShapeText(tensor.shape), ShapeText(expected));
    }
  }

  const Checkpoint& checkpoint_;
  const Architecture& architecture_;
  Ops& ops_;
  std::unordered_map<std::string_view, const Tensor*> by_name_;
};

void BindAttention(const Binder& binder, const Hyperparameters& p, int64_t l, LayerWeights& layer) {
  const int64_t query = p.heads * p.head_dim, key = p.kv_heads * p.head_dim;
  layer.attention_norm = binder.Norm(Role::kAttentionNorm, l, p.width);
  if (binder.Has(Role::kQueryKeyValue)) {
    const Role fused = Role::kQueryKeyValue;
    const int64_t all = query + 2 * key;
    layer.query = binder.Part(fused, l, 0, query, all, p.width);
    layer.key = binder.Part(fused, l, query, key, all, p.width);
    layer.value = binder.Part(fused, l, query + key, key, all, p.width);
  } else {
    layer.query = binder.MakeLinear(Role::kQuery, l, query, p.width);
    layer.key = binder.MakeLinear(Role::kKey, l, key, p.width);
    layer.value = binder.MakeLinear(Role::kValue, l, key, p.width);
  }
  layer.query_norm = binder.Norm(Role::kQueryNorm, l, p.head_dim);
  layer.key_norm = binder.Norm(Role::kKeyNorm, l, p.head_dim);
  layer.attention_output = binder.MakeLinear(Role::kAttentionOutput, l, p.width, query);
  layer.attention_post_norm = binder.Norm(Role::kAttentionPostNorm, l, p.width);
  layer.window = p.WindowOf(l);
}

void BindFeedForward(const Binder& binder, const Hyperparameters& p, int64_t l,
                     LayerWeights& layer) {
  layer.feed_forward_norm = binder.Norm(Role::kFeedForwardNorm, l, p.width);
  layer.feed_forward_post_norm = binder.Norm(Role::kFeedForwardPostNorm, l, p.width);
  if (p.experts > 0) {
    layer.router = binder.MakeLinear(Role::kRouter, l, p.experts, p.width);
    const int64_t inner = p.expert.feed_forward;
    for (int64_t e = 0; e < p.experts; ++e) {
      Expert expert;
      expert.gate = binder.ExpertLinear(Role::kExpertGate, l, e, p.experts, inner, p.width);
      expert.up = binder.ExpertLinear(Role::kExpertUp, l, e, p.experts, inner, p.width);
      expert.down = binder.ExpertLinear(Role::kExpertDown, l, e, p.experts, p.width, inner);
      layer.experts.push_back(std::move(expert));
    }
    return;
  }
  if (binder.Has(Role::kGateUp)) {
    const Role fused = Role::kGateUp;
    layer.gate = binder.Part(fused, l, 0, p.feed_forward, 2 * p.feed_forward, p.width);
    layer.up = binder.Part(fused, l, p.feed_forward, p.feed_forward, 2 * p.feed_forward, p.width);
  } else {
    layer.gate = binder.MakeLinear(Role::kGate, l, p.feed_forward, p.width);
    layer.up = binder.MakeLinear(Role::kUp, l, p.feed_forward, p.width);
  }
  layer.down = binder.MakeLinear(Role::kDown, l, p.width, p.feed_forward);
}

// What a generated token reads: not the embedding's other rows, nor the experts it does not use.
uint64_t TokenBytes(const Checkpoint& checkpoint, const ModelWeights& model) {
  const Hyperparameters& p = model.parameters;
  uint64_t bytes = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    const auto place = PlaceOf(*model.architecture, checkpoint.dialect, tensor.name);
    const Role role = place ? place->role->role : Role::kRopeFactors;
    if (place && IsExpert(role) && p.experts > 0) {
      bytes +=
          tensor.bytes() * static_cast<uint64_t>(p.expert.used) / static_cast<uint64_t>(p.experts);
    } else if (role == Role::kTokenEmbedding && model.output.weight) {
      bytes += tensor.row_bytes();
    } else {
      bytes += tensor.bytes();
    }
  }
  return bytes;
}

}  // namespace

std::vector<std::string> TensorNames(const LayerWeights& layer, Stage stage) {
  std::vector<std::string> names;
  VisitLinears(layer, stage, [&](const Linear& linear, int64_t) {
    if (names.empty() || names.back() != linear.name) names.push_back(linear.name);
  });
  return names;
}

LayerWeights FormOf(const LayerWeights& layer) {
  LayerWeights form;
  form.attention_norm = layer.attention_norm;
  form.query_norm = layer.query_norm;
  form.key_norm = layer.key_norm;
  form.attention_post_norm = layer.attention_post_norm;
  form.feed_forward_norm = layer.feed_forward_norm;
  form.feed_forward_post_norm = layer.feed_forward_post_norm;
  form.window = layer.window;
  const auto copy = [](const Linear& from, Linear& to) {
    to = {from.name, from.first_row, nullptr, from.bias, from.low_rank};
  };
  copy(layer.query, form.query);
  copy(layer.key, form.key);
  copy(layer.value, form.value);
  copy(layer.attention_output, form.attention_output);
  copy(layer.gate, form.gate);
  copy(layer.up, form.up);
  copy(layer.down, form.down);
  form.router = layer.router;
  form.experts.resize(layer.experts.size());
  for (size_t e = 0; e < layer.experts.size(); ++e) {
    copy(layer.experts[e].gate, form.experts[e].gate);
    copy(layer.experts[e].up, form.experts[e].up);
    copy(layer.experts[e].down, form.experts[e].down);
  }
  return form;
}

std::shared_ptr<Matrix> PrepareLinear(Ops& ops, const Tensor& tensor, const Linear& linear,
                                      int64_t rows) {
  if (tensor.shape.size() == 2 && tensor.rows() == rows) return ops.Prepare(tensor);
  return ops.Prepare(RowsOf(tensor, tensor.name, linear.first_row, rows));
}

ModelWeights BindWeights(const Checkpoint& checkpoint, Ops& ops) {
  ModelWeights model;
  model.architecture = &ArchitectureOf(checkpoint);
  model.parameters = ReadHyperparameters(checkpoint, *model.architecture);
  const Hyperparameters& p = model.parameters;
  model.rope = checkpoint.dialect == Dialect::kGguf ? model.architecture->gguf_rope
                                                    : model.architecture->hf_rope;
  for (const bool windowed : {false, true}) {
    for (const bool long_context : {false, true}) {
      model.inverse_frequency.table[windowed][long_context] =
          p.InverseFrequencies(windowed, long_context);
    }
  }
  if (model.architecture->scales_embedding) {
    model.embedding_scale = std::sqrt(static_cast<float>(p.width));
  }

  CheckShapes(checkpoint, *model.architecture, p);
  CheckTiedHead(checkpoint, *model.architecture);
  const Binder binder(checkpoint, *model.architecture, ops);
  // Weights that are put together of a file's parts lie beside the parts' pages until those are
  // given back.
  const bool copies = std::ranges::any_of(
      checkpoint.tensors, [](const Tensor& tensor) { return tensor.source != nullptr; });
  model.embedding = binder.Weight(Role::kTokenEmbedding, -1, p.vocabulary, p.width);
  for (int64_t l = 0; l < p.layers; ++l) {
    LayerWeights layer;
    BindAttention(binder, p, l, layer);
    BindFeedForward(binder, p, l, layer);
    model.layers.push_back(std::move(layer));
    if (copies) checkpoint.GiveBackPages();
  }
  model.output_norm = binder.Norm(Role::kOutputNorm, -1, p.width);
  model.output.name = "output.weight";
  if (binder.Find(Role::kOutput, -1) != nullptr) {
    model.output = binder.MakeLinear(Role::kOutput, -1, p.vocabulary, p.width);
  }
  for (const Tensor& tensor : checkpoint.tensors) model.tensor_bytes += tensor.bytes();
  model.token_bytes = TokenBytes(checkpoint, model);
  return model;
}

}  // namespace halftone
