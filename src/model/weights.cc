#include "model/weights.h"

#include <algorithm>

#include "base/error.h"
#include "grid/grouped.h"
#include "model/dialect.h"

namespace halftone {
namespace {

class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const Architecture& architecture, Ops& ops)
      : checkpoint_(checkpoint), architecture_(architecture), ops_(ops) {}

  // Null if the checkpoint has no such tensor.
  const Tensor* Find(Role role, int64_t layer, bool bias = false) const {
    return checkpoint_.Find(Name(checkpoint_.dialect, role, layer, bias));
  }

  std::unique_ptr<Matrix> Weight(Role role, int64_t layer, int64_t rows, int64_t cols) const {
    return ops_.Prepare(Shaped(role, layer, {rows, cols}));
  }

  Linear MakeLinear(Role role, int64_t layer, int64_t rows, int64_t cols) const {
    Linear linear;
    linear.name = Name(Dialect::kGguf, role, layer, false);
    const Tensor& tensor = Shaped(role, layer, {rows, cols});
    linear.weight = checkpoint_.int8_threshold && IsAbsmaxRows(*tensor.grid)
                        ? ops_.PrepareInt8(tensor, *checkpoint_.int8_threshold)
                        : ops_.Prepare(tensor);
    if (const Tensor* bias = Find(role, layer, true)) {
      CheckShape(*bias, {rows});
      linear.bias = Decode(*bias);
    }
    return linear;
  }

  std::vector<float> Vector(Role role, int64_t layer, int64_t size) const {
    return Decode(Shaped(role, layer, {size}));
  }

 private:
  const Tensor& Shaped(Role role, int64_t layer, const std::vector<int64_t>& shape) const {
    const Tensor& tensor = checkpoint_.Get(Name(checkpoint_.dialect, role, layer, false));
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
};

}  // namespace

ModelWeights BindWeights(const Checkpoint& checkpoint, Ops& ops) {
  ModelWeights model;
  model.architecture = &ArchitectureOf(checkpoint);
  model.parameters = ReadHyperparameters(checkpoint, *model.architecture);
  const Hyperparameters& p = model.parameters;
  if (p.experts > 0) {
    FailUnsupported("{}: mixtures of experts are not supported", checkpoint.path);
  }
  model.rope = checkpoint.dialect == Dialect::kGguf ? model.architecture->gguf_rope
                                                    : model.architecture->hf_rope;
  model.inverse_frequency = p.InverseFrequencies();

  CheckTiedHead(checkpoint, *model.architecture);
  const Binder binder(checkpoint, *model.architecture, ops);
  model.embedding = binder.Weight(Role::kTokenEmbedding, -1, p.vocabulary, p.width);
  const int64_t query = p.heads * p.head_dim, key = p.kv_heads * p.head_dim;
  for (int64_t l = 0; l < p.layers; ++l) {
    LayerWeights layer;
    layer.attention_norm = binder.Vector(Role::kAttentionNorm, l, p.width);
    layer.query = binder.MakeLinear(Role::kQuery, l, query, p.width);
    layer.key = binder.MakeLinear(Role::kKey, l, key, p.width);
    layer.value = binder.MakeLinear(Role::kValue, l, key, p.width);
    layer.attention_output = binder.MakeLinear(Role::kAttentionOutput, l, p.width, query);
    layer.feed_forward_norm = binder.Vector(Role::kFeedForwardNorm, l, p.width);
    layer.gate = binder.MakeLinear(Role::kGate, l, p.feed_forward, p.width);
    layer.up = binder.MakeLinear(Role::kUp, l, p.feed_forward, p.width);
    layer.down = binder.MakeLinear(Role::kDown, l, p.width, p.feed_forward);
    model.layers.push_back(std::move(layer));
  }
  model.output_norm = binder.Vector(Role::kOutputNorm, -1, p.width);
  model.output.name = "output.weight";
  if (binder.Find(Role::kOutput, -1) != nullptr) {
    model.output = binder.MakeLinear(Role::kOutput, -1, p.vocabulary, p.width);
  }
  for (const Tensor& tensor : checkpoint.tensors) model.tensor_bytes += tensor.bytes();
  model.token_bytes = model.tensor_bytes;
  if (model.output.weight) {
    const Tensor& embedding = *binder.Find(Role::kTokenEmbedding, -1);
    model.token_bytes -= embedding.bytes() - embedding.row_bytes();
  }
  return model;
}

}  // namespace halftone
