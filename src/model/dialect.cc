#include "model/dialect.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"

namespace halftone {
namespace {

struct LayerPrefix {
  std::string_view before;  // of the layer's number
  std::string_view after;
};

LayerPrefix PrefixOf(Dialect dialect) {
  return dialect == Dialect::kGguf ? LayerPrefix{"blk.", "."} : LayerPrefix{"model.layers.", "."};
}

std::string_view BaseName(Dialect dialect, const RoleName& role) {
  return dialect == Dialect::kGguf ? role.gguf : role.hf;
}

// What config.json says of the output matrix; none where it says nothing.
std::optional<bool> SaysTied(const Checkpoint& checkpoint) {
  const auto document = checkpoint.documents.find("config.json");
  if (document == checkpoint.documents.end()) return std::nullopt;
  const Json config = ParseJson(document->second, checkpoint.path + "/config.json");
  const auto said = config.find("tie_word_embeddings");
  if (said == config.end() || !said->is_boolean()) return std::nullopt;
  return said->get<bool>();
}

bool SameValues(const Tensor& a, const Tensor& b) {
  if (a.shape != b.shape) return false;
  const Tensor x = Loaded(a), y = Loaded(b);
  if (x.grid == y.grid && x.order == y.order) return std::ranges::equal(x.data, y.data);
  std::vector<float> of_x(static_cast<size_t>(x.cols())), of_y(of_x.size());
  for (int64_t r = 0; r < x.rows(); ++r) {
    DecodeRow(x, r, of_x.data());
    DecodeRow(y, r, of_y.data());
    if (of_x != of_y) return false;
  }
  return true;
}

// Tensors that hold no weights: rotary tables that old exports stored.
bool IsCachedConstant(std::string_view name) {
  return name.ends_with(".inv_freq") || name.ends_with(".masked_bias") ||
         name.ends_with(".attn.bias");
}

}  // namespace

void CheckTiedHead(const Checkpoint& checkpoint, const Architecture& architecture) {
  if (checkpoint.dialect != Dialect::kHuggingFace) return;
  const std::optional<bool> tied = SaysTied(checkpoint);
  if (!tied) return;
  const auto find = [&](Role role) {
    const std::string name = NameInDialect(Dialect::kHuggingFace, architecture, role, -1);
    const auto it = std::ranges::find(checkpoint.tensors, name, &Tensor::name);
    return it == checkpoint.tensors.end() ? nullptr : &*it;
  };
  const Tensor* embedding = find(Role::kTokenEmbedding);
  const Tensor* output = find(Role::kOutput);
  if (embedding == nullptr) return;  // whoever needs it says so
  if (!*tied && output == nullptr) {
    FailFormat(
        "{}: config.json says that the output is not tied to the embedding, but there is "
        "no tensor '{}'",
        checkpoint.path, NameInDialect(Dialect::kHuggingFace, architecture, Role::kOutput, -1));
  }
  if (*tied && output != nullptr && !SameValues(*embedding, *output)) {
    FailFormat("{}: config.json ties the output to the embedding, but tensor '{}' is another",
               checkpoint.path, output->name);
  }
}

int64_t HeadsOf(RowOrder order, const Hyperparameters& p) {
  switch (order) {
    case RowOrder::kSame:
      return 0;
    case RowOrder::kPairsOfQueryHeads:
      return p.heads;
    case RowOrder::kPairsOfKeyHeads:
      return p.kv_heads;
  }
  return 0;
}

std::string NameInDialect(Dialect dialect, const RolePlace& place) {
  std::string name;
  if (place.layer >= 0) {
    const LayerPrefix prefix = PrefixOf(dialect);
    name.append(prefix.before).append(std::to_string(place.layer)).append(prefix.after);
  }
  return name.append(BaseName(dialect, *place.role)).append(place.bias ? ".bias" : ".weight");
}

std::string NameInDialect(Dialect dialect, const Architecture& architecture, Role role,
                          int64_t layer, bool bias) {
  const auto it = std::ranges::find_if(architecture.roles, [&](const RoleName& name) {
    return name.role == role && name.per_layer == (layer >= 0);
  });
  return NameInDialect(dialect, {&*it, layer, bias});
}

bool IsLayerLinear(const RolePlace& place) {
  if (place.layer < 0 || place.bias) return false;
  switch (place.role->role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue:
    case Role::kAttentionOutput:
    case Role::kGate:
    case Role::kUp:
    case Role::kDown:
      return true;
    default:
      return false;
  }
}

std::optional<RolePlace> PlaceOf(const Architecture& architecture, Dialect dialect,
                                 std::string_view name) {
  RolePlace place;
  if (name.ends_with(".weight")) {
    name.remove_suffix(7);
  } else if (name.ends_with(".bias")) {
    place.bias = true;
    name.remove_suffix(5);
  } else {
    return std::nullopt;
  }
  const LayerPrefix prefix = PrefixOf(dialect);
  if (name.starts_with(prefix.before)) {
    const char* first = name.data() + prefix.before.size();
    const char* last = name.data() + name.size();
    const auto [end, error] = std::from_chars(first, last, place.layer);
    if (error != std::errc() || place.layer < 0 || end == last || *end != '.') return std::nullopt;
    name.remove_prefix(static_cast<size_t>(end + 1 - name.data()));
  }
  for (const RoleName& role : architecture.roles) {
    const std::string_view base = BaseName(dialect, role);
    if (!base.empty() && base == name && role.per_layer == (place.layer >= 0)) {
      place.role = &role;
      return place;
    }
  }
  return std::nullopt;
}

std::vector<GgufTensor> GgufTensors(const Checkpoint& checkpoint, const Architecture& architecture,
                                    const Hyperparameters& parameters) {
  std::vector<GgufTensor> tensors;
  if (checkpoint.dialect == Dialect::kGguf) {
    for (const Tensor& tensor : checkpoint.tensors) tensors.push_back({tensor, 0});
    return tensors;
  }
  CheckTiedHead(checkpoint, architecture);
  const bool tied = SaysTied(checkpoint).value_or(false);
  for (const Tensor& tensor : checkpoint.tensors) {
    if (IsCachedConstant(tensor.name)) continue;
    const auto place = PlaceOf(architecture, checkpoint.dialect, tensor.name);
    if (!place) {
      FailUnsupported("{}: tensor '{}' is not part of architecture '{}'", checkpoint.path,
                      tensor.name, architecture.name);
    }
    if (tied && place->role->role == Role::kOutput) continue;
    GgufTensor out{tensor, HeadsOf(place->role->order, parameters)};
    out.tensor.name = NameInDialect(Dialect::kGguf, *place);
    if (out.permuted_heads > 0) {
      const int64_t rows = place->bias ? tensor.count() : tensor.rows();
      if (rows != out.permuted_heads * parameters.head_dim) {
        FailFormat("{}: tensor '{}' has {} rows, expected {} heads of {}", checkpoint.path,
                   tensor.name, rows, out.permuted_heads, parameters.head_dim);
      }
    }
    tensors.push_back(std::move(out));
  }
  if (!parameters.rope_factors.empty()) {
    tensors.push_back(
        {MakeF32Tensor("rope_freqs.weight", {static_cast<int64_t>(parameters.rope_factors.size())},
                       parameters.rope_factors),
         0});
  }
  return tensors;
}

int64_t SourceRow(int64_t row, int64_t rows, int64_t heads) {
  const int64_t size = rows / heads;
  const int64_t head = row / size, within = row % size;
  return head * size + (within % 2) * (size / 2) + within / 2;
}

}  // namespace halftone
