#include "model/architecture.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "model/file_kind.h"

namespace halftone {

#define HT_ARCHITECTURE(name) extern const Architecture kArchitecture_##name;
#include "model/architectures.def"
#undef HT_ARCHITECTURE

namespace {

constexpr const Architecture* kArchitectures[] = {
#define HT_ARCHITECTURE(name) &kArchitecture_##name,
#include "model/architectures.def"
#undef HT_ARCHITECTURE
};

// "gemma2, gemma3, llama", for messages.
std::string Names() {
  std::string names;
  for (const Architecture* architecture : kArchitectures) {
    names += (names.empty() ? "" : ", ") + std::string(architecture->name);
  }
  return names;
}

const Architecture& FromGguf(const Checkpoint& checkpoint) {
  const std::string* name = checkpoint.metadata.String("general.architecture");
  if (name == nullptr) {
    FailFormat("{}: key 'general.architecture' is missing or no string", checkpoint.path);
  }
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->name == *name) return *architecture;
  }
  FailUnsupported("{}: architecture '{}' is not supported, only {} are", checkpoint.path,
                  Printable(*name), Names());
}

const Architecture& FromHuggingFace(const Checkpoint& checkpoint) {
  const auto document = checkpoint.documents.find("config.json");
  if (document == checkpoint.documents.end()) {
    FailFormat("{}: config.json is missing", checkpoint.path);
  }
  const std::string source = checkpoint.path + "/config.json";
  const Json config = ParseJson(document->second, source);
  if (!config.is_object() || !config.contains("architectures") ||
      !config["architectures"].is_array() || config["architectures"].empty() ||
      !config["architectures"][0].is_string()) {
    FailFormat("{}: 'architectures' does not name a class", source);
  }
  // Their tensors' plain parts would be taken for the whole.
  if (!checkpoint.unread_quantization.empty()) {
    FailUnsupported(
        "{}: says that the weights are quantized by '{}', which is not read; use the original "
        "model, or, where the weights are plain after all, remove 'quantization_config'",
        source, Printable(checkpoint.unread_quantization));
  }
  const std::string name = config["architectures"][0];
  for (const Architecture* architecture : kArchitectures) {
    if (std::ranges::count(architecture->hf_classes, name, &HfClass::name) > 0) {
      return *architecture;
    }
  }
  FailUnsupported("{}: architecture '{}' is not supported, only classes of {} are", source,
                  Printable(name), Names());
}

}  // namespace

std::span<const Architecture* const> AllArchitectures() { return kArchitectures; }

const Architecture* FindArchitecture(const Checkpoint& checkpoint) {
  try {
    return &ArchitectureOf(checkpoint);
  } catch (const Error& error) {
    if (error.kind() == Error::Kind::kUnsupported) return nullptr;
    throw;
  }
}

const RoleName* FindRole(const Architecture& architecture, Role role) {
  const auto it = std::ranges::find(architecture.roles, role, &RoleName::role);
  return it == architecture.roles.end() ? nullptr : &*it;
}

bool IsNorm(Role role) {
  switch (role) {
    case Role::kOutputNorm:
    case Role::kAttentionNorm:
    case Role::kQueryNorm:
    case Role::kKeyNorm:
    case Role::kAttentionPostNorm:
    case Role::kFeedForwardNorm:
    case Role::kFeedForwardPostNorm:
      return true;
    default:
      return false;
  }
}

bool IsExpert(Role role) {
  return role == Role::kExpertGate || role == Role::kExpertUp || role == Role::kExpertDown;
}

const Architecture& ArchitectureOf(const Checkpoint& checkpoint) {
  RequireModel(checkpoint);
  return checkpoint.dialect == Dialect::kGguf ? FromGguf(checkpoint) : FromHuggingFace(checkpoint);
}

}  // namespace halftone
