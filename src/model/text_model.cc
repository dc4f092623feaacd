#include "model/text_model.h"

#include <algorithm>

#include "base/error.h"
#include "model/dialect.h"
#include "tensor/composed.h"

namespace halftone {
namespace {

struct Prefix {
  std::string_view before, after;
};

// As transformers 4, its later versions and 5 write them; the first that fits decides.
constexpr Prefix kPrefixes[] = {
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"model.language_model.", "model."},
};

// Of parts that see images.
constexpr std::string_view kOthers[] = {
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
};

bool IsOther(std::string_view name) {
  return std::ranges::any_of(kOthers, [&](auto prefix) { return name.starts_with(prefix); });
}

void Rename(std::string& name) {
  for (const Prefix& prefix : kPrefixes) {
    if (!name.starts_with(prefix.before)) continue;
    name.replace(0, prefix.before.size(), prefix.after);
    return;
  }
}

constexpr std::string_view kGateUp = ".experts.gate_up_proj";
constexpr std::string_view kDown = ".experts.down_proj";

// The layer of "model.layers.N.…".
int64_t LayerOf(const std::string& name) {
  constexpr std::string_view kBefore = "model.layers.";
  if (!name.starts_with(kBefore)) return -1;
  return std::strtoll(name.c_str() + kBefore.size(), nullptr, 10);
}

// Each expert's part of a stack, in the parts that the architecture has by role.
void Unstack(const Checkpoint& checkpoint, const Architecture& architecture, const Tensor& stack,
             std::span<const Role> roles, std::vector<Tensor>& to) {
  const auto parts = static_cast<int64_t>(roles.size());
  if (stack.shape.size() != 3 || stack.shape[1] % parts != 0) {
    FailFormat("{}: tensor '{}' has shape {}, expected one matrix for each expert", checkpoint.path,
               stack.name, ShapeText(stack.shape));
  }
  const int64_t rows = stack.shape[1] / parts;
  for (int64_t e = 0; e < stack.shape[0]; ++e) {
    for (int64_t part = 0; part < parts; ++part) {
      const RolePlace place{FindRole(architecture, roles[part]), LayerOf(stack.name), false, e};
      to.push_back(RowsOf(stack, NameInDialect(Dialect::kHuggingFace, place),
                          e * stack.shape[1] + part * rows, rows));
    }
  }
}

}  // namespace

Checkpoint TextModelOf(Checkpoint checkpoint) {
  if (checkpoint.dialect != Dialect::kHuggingFace) return checkpoint;
  const Architecture* architecture = FindArchitecture(checkpoint);
  if (architecture == nullptr) return checkpoint;
  static constexpr Role kGateAndUp[] = {Role::kExpertGate, Role::kExpertUp};
  static constexpr Role kDownAlone[] = {Role::kExpertDown};
  const bool experts = FindRole(*architecture, Role::kExpertGate) != nullptr;
  std::vector<Tensor> tensors;
  for (Tensor& tensor : checkpoint.tensors) {
    if (IsOther(tensor.name)) continue;
    Rename(tensor.name);
    if (experts && tensor.name.ends_with(kGateUp)) {
      Unstack(checkpoint, *architecture, tensor, kGateAndUp, tensors);
    } else if (experts && tensor.name.ends_with(kDown)) {
      Unstack(checkpoint, *architecture, tensor, kDownAlone, tensors);
    } else {
      tensors.push_back(std::move(tensor));
    }
  }
  checkpoint.tensors = std::move(tensors);
  return checkpoint;
}

}  // namespace halftone
