#include "model/dialect.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "model/hf_hyperparameters.h"
#include "tensor/composed.h"

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

// A whole number at the front of `text`, which is cut off; none where there is none.
std::optional<int64_t> TakeNumber(std::string_view& text) {
  int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

// Whether `name` is `pattern`, in which "*" stands for a number.
bool Matches(std::string_view name, std::string_view pattern, int64_t& number) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  name.remove_prefix(star);
  const auto taken = TakeNumber(name);
  if (!taken || name != pattern.substr(star + 1)) return false;
  number = *taken;
  return true;
}

// What config.json says of the output matrix; none where it says nothing.
std::optional<bool> SaysTied(const Checkpoint& checkpoint) {
  const auto document = checkpoint.documents.find("config.json");
  if (document == checkpoint.documents.end()) return std::nullopt;
  const Json config = ParseJson(document->second, checkpoint.path + "/config.json");
  for (const Json* part : {&config, &TextConfig(config)}) {
    const auto said = part->find("tie_word_embeddings");
    if (said != part->end() && said->is_boolean()) return said->get<bool>();
  }
  return std::nullopt;
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

std::vector<std::string_view> StrayTensors(const Checkpoint& checkpoint,
                                           const Architecture& architecture) {
  std::vector<std::string_view> stray;
  for (const Tensor& tensor : checkpoint.tensors) {
    if (IsCachedConstant(tensor.name)) continue;
    if (!PlaceOf(architecture, checkpoint.dialect, tensor.name)) stray.push_back(tensor.name);
  }
  return stray;
}

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
  std::string base(BaseName(dialect, *place.role));
  if (const size_t star = base.find('*'); star != std::string::npos) {
    base.replace(star, 1, std::to_string(place.expert));
  }
  return name.append(base).append(place.bias ? ".bias" : ".weight");
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
    case Role::kQueryKeyValue:
    case Role::kGate:
    case Role::kUp:
    case Role::kGateUp:
    case Role::kDown:
    case Role::kExpertGate:
    case Role::kExpertUp:
    case Role::kExpertDown:
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
    name.remove_prefix(prefix.before.size());
    const auto layer = TakeNumber(name);
    if (!layer || !name.starts_with('.')) return std::nullopt;
    place.layer = *layer;
    name.remove_prefix(1);
  }
  for (const RoleName& role : architecture.roles) {
    const std::string_view base = BaseName(dialect, role);
    if (!base.empty() && role.per_layer == (place.layer >= 0) &&
        Matches(name, base, place.expert)) {
      place.role = &role;
      return place;
    }
  }
  return std::nullopt;
}

namespace {

// The experts of a layer under GGUF's name, each from a tensor of its own.
using Experts = std::map<std::string, std::vector<Tensor>>;

void AddExpert(const Checkpoint& checkpoint, const Tensor& tensor, const RolePlace& place,
               const Hyperparameters& parameters, Experts& experts) {
  if (place.bias)
    FailUnsupported("{}: tensor '{}': experts with biases", checkpoint.path, tensor.name);
  if (place.expert >= parameters.experts) {
    FailFormat("{}: tensor '{}' is of expert {}, but there are {}", checkpoint.path, tensor.name,
               place.expert, parameters.experts);
  }
  std::vector<Tensor>& stack = experts[NameInDialect(Dialect::kGguf, place)];
  stack.resize(static_cast<size_t>(parameters.experts));
  stack[static_cast<size_t>(place.expert)] = tensor;
}

Tensor StackOf(const Checkpoint& checkpoint, const std::string& name,
               const std::vector<Tensor>& experts) {
  for (size_t e = 0; e < experts.size(); ++e) {
    if (experts[e].grid == nullptr) {
      FailFormat("{}: expert {} of '{}' is missing", checkpoint.path, e, name);
    }
    if (experts[e].shape != experts[0].shape || experts[e].grid != experts[0].grid) {
      FailUnsupported("{}: tensor '{}' has another shape or grid than the layer's first expert",
                      checkpoint.path, experts[e].name);
    }
    if (experts[e].order != nullptr) {
      FailUnsupported("{}: tensor '{}': experts whose columns have an order each do not fit in one",
                      checkpoint.path, experts[e].name);
    }
  }
  return Stacked(name, experts);
}

void AddRopeFactors(const std::vector<float>& factors, const Architecture& architecture, Role role,
                    std::vector<GgufTensor>& tensors) {
  if (factors.empty()) return;
  if (FindRole(architecture, role) == nullptr) {
    FailUnsupported("architecture '{}' has no place for factors of rope in GGUF",
                    architecture.name);
  }
  tensors.push_back({MakeF32Tensor(NameInDialect(Dialect::kGguf, architecture, role, -1),
                                   {static_cast<int64_t>(factors.size())}, factors),
                     0});
}

void CheckHeads(const Checkpoint& checkpoint, const Tensor& tensor, const RolePlace& place,
                int64_t heads, int64_t head_dim) {
  const int64_t rows = place.bias ? tensor.count() : tensor.rows();
  if (heads > 0 && rows != heads * head_dim) {
    FailFormat("{}: tensor '{}' has {} rows, expected {} heads of {}", checkpoint.path, tensor.name,
               rows, heads, head_dim);
  }
}

}  // namespace

std::vector<GgufTensor> GgufTensors(const Checkpoint& checkpoint, const Architecture& architecture,
                                    const Hyperparameters& parameters) {
  std::vector<GgufTensor> tensors;
  if (checkpoint.dialect == Dialect::kGguf) {
    for (const Tensor& tensor : checkpoint.tensors) tensors.push_back({tensor, 0});
    return tensors;
  }
  CheckTiedHead(checkpoint, architecture);
  const bool tied = SaysTied(checkpoint).value_or(false);
  Experts experts;
  for (const Tensor& tensor : checkpoint.tensors) {
    if (IsCachedConstant(tensor.name)) continue;
    const auto place = PlaceOf(architecture, checkpoint.dialect, tensor.name);
    if (!place) {
      FailUnsupported("{}: tensor '{}' is not part of architecture '{}'", checkpoint.path,
                      tensor.name, architecture.name);
    }
    if (tied && place->role->role == Role::kOutput) continue;
    if (IsExpert(place->role->role)) {
      AddExpert(checkpoint, tensor, *place, parameters, experts);
      continue;
    }
    GgufTensor out{tensor, HeadsOf(place->role->order, parameters)};
    CheckHeads(checkpoint, tensor, *place, out.permuted_heads, parameters.head_dim);
    if (architecture.norm_offset != 0 && IsNorm(place->role->role) && !place->bias) {
      out.tensor = Shifted(tensor, architecture.norm_offset);
    } else if (place->role->role == Role::kRouter) {
      out.tensor = Shifted(tensor, 0);
    }
    out.tensor.name = NameInDialect(Dialect::kGguf, *place);
    tensors.push_back(std::move(out));
  }
  for (const auto& [name, stack] : experts) {
    tensors.push_back({StackOf(checkpoint, name, stack), 0});
  }
  AddRopeFactors(parameters.rope_factors, architecture, Role::kRopeFactors, tensors);
  AddRopeFactors(parameters.long_rope.long_factors, architecture, Role::kRopeFactorsLong, tensors);
  AddRopeFactors(parameters.long_rope.short_factors, architecture, Role::kRopeFactorsShort,
                 tensors);
  return tensors;
}

int64_t SourceRow(int64_t row, int64_t rows, int64_t heads) {
  const int64_t size = rows / heads;
  const int64_t head = row / size, within = row % size;
  return head * size + (within % 2) * (size / 2) + within / 2;
}

}  // namespace halftone
