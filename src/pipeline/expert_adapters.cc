#include "pipeline/expert_adapters.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/composed.h"

namespace halftone {
namespace {

[[noreturn]] void FailTogether(const std::string& path, std::string_view name,
                               const AdapterHalves& halves) {
  FailFormat("{}: '{}' has matrices of {} and {}, which do not go together", path, Printable(name),
             ShapeText(halves.a.shape), ShapeText(halves.b.shape));
}

void RequirePair(const std::string& path, std::string_view name, const AdapterHalves& halves) {
  if (halves.a.grid == nullptr || halves.b.grid == nullptr) {
    FailFormat("{}: '{}' has only one half of its pair", path, Printable(name));
  }
}

// To a rank that is not smaller, by rows and columns of zeros, and to another scale of the same
// product.
void Reshape(AdapterModule& module, int64_t rank, float scale) {
  const int64_t rows = module.rows();
  const float factor = module.scale == scale ? 1 : module.scale / scale;
  std::vector<float> b(static_cast<size_t>(rows * rank));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < module.rank; ++k) {
      b[r * rank + k] = module.b[r * module.rank + k] * factor;
    }
  }
  module.a.resize(static_cast<size_t>(module.cols() * rank));
  module.b = std::move(b);
  module.rank = rank;
  module.scale = scale;
}

}  // namespace

bool IsOfMixture(Role role) { return IsExpert(role) || role == Role::kRouter; }

std::optional<FusedParameter> FusedParameterOf(const Architecture& architecture,
                                               std::string_view module,
                                               const std::set<std::string>& targets) {
  constexpr std::string_view kLayers = "model.layers.";
  if (FindRole(architecture, Role::kRouter) == nullptr || !module.starts_with(kLayers)) {
    return std::nullopt;
  }
  FusedParameter parameter;
  const std::string_view rest = module.substr(kLayers.size());
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), parameter.layer);
  if (error != std::errc() || parameter.layer < 0) return std::nullopt;
  const std::string_view inside(end, rest.data() + rest.size());
  const auto targeted = [&](std::string_view name) {
    return std::ranges::any_of(targets, [&](std::string_view t) { return t.ends_with(name); });
  };
  const std::string layer(module.substr(0, module.size() - inside.size()));
  if (inside == ".mlp.gate") {
    parameter.name = layer + ".mlp.gate.weight";
    parameter.roles = {Role::kRouter};
  } else if (inside == ".mlp.experts.base_layer" ||
             (inside == ".mlp.experts" && targeted("gate_up_proj") && !targeted("down_proj"))) {
    parameter.name = layer + ".mlp.experts.gate_up_proj";
    parameter.roles = {Role::kExpertGate, Role::kExpertUp};
  } else if (inside == ".mlp.experts") {
    parameter.name = layer + ".mlp.experts.down_proj";
    parameter.roles = {Role::kExpertDown};
  } else {
    return std::nullopt;
  }
  return parameter;
}

std::vector<AdapterModule> SplitParameter(const std::string& path, const Architecture& architecture,
                                          const Hyperparameters& parameters,
                                          const FusedParameter& parameter,
                                          const AdapterHalves& halves) {
  RequirePair(path, parameter.name, halves);
  const auto& [a, b] = halves;
  const bool router = parameter.roles[0] == Role::kRouter;
  const int64_t experts = router ? 1 : parameters.experts, parts = std::ssize(parameter.roles);
  if (experts == 0 || a.shape.size() != 2 || b.shape.size() != 2 || a.shape[0] != b.shape[1] ||
      a.shape[0] < experts || a.shape[0] % experts != 0 || b.shape[0] % parts != 0 ||
      a.count() < 1 || b.count() < 1) {
    FailTogether(path, parameter.name, halves);
  }
  const int64_t rank = a.shape[0] / experts, rows = b.shape[0] / parts;
  const std::vector<float> a_values = Decode(a), b_values = Decode(b);
  std::vector<AdapterModule> modules;
  for (int64_t p = 0; p < parts; ++p) {
    for (int64_t e = 0; e < experts; ++e) {
      AdapterHalves of;
      of.a = RowsOf(a, a.name, e * rank, rank);
      std::vector<float> own(static_cast<size_t>(rows * rank));
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = b_values.data() + (p * rows + r) * rank * experts;
        for (int64_t k = 0; k < rank; ++k) own[r * rank + k] = row[k * experts + e];
      }
      of.b = MakeF32Tensor(b.name, {rows, rank}, own);
      const RolePlace place{FindRole(architecture, parameter.roles[static_cast<size_t>(p)]),
                            parameter.layer, false, router ? -1 : e};
      modules.push_back(ModuleFrom(path, parameter.name, place, of));
    }
  }
  return modules;
}

std::vector<AdapterModule> SplitExperts(const std::string& path, const Architecture& architecture,
                                        const Hyperparameters& parameters, const std::string& name,
                                        const AdapterHalves& halves) {
  RequirePair(path, name, halves);
  const auto& [a, b] = halves;
  const auto place = PlaceOf(architecture, Dialect::kGguf, name);
  if (a.shape.size() != 3 || b.shape.size() != 3 || a.shape[0] != b.shape[0] ||
      a.shape[0] != parameters.experts || a.count() < 1 || b.count() < 1) {
    FailTogether(path, name, halves);
  }
  std::vector<AdapterModule> modules;
  for (int64_t e = 0; e < parameters.experts; ++e) {
    const AdapterHalves of{RowsOf(a, a.name, e * a.shape[1], a.shape[1]),
                           RowsOf(b, b.name, e * b.shape[1], b.shape[1])};
    modules.push_back(ModuleFrom(path, name, {place->role, place->layer, false, e}, of));
  }
  return modules;
}

std::vector<AdapterModule> StackedExperts(const std::vector<AdapterModule>& modules,
                                          int64_t experts) {
  std::vector<AdapterModule> stacked;
  std::map<std::string, std::vector<const AdapterModule*>> tensors;
  for (const AdapterModule& module : modules) {
    if (IsExpert(module.place.role->role)) {
      tensors[NameInDialect(Dialect::kGguf, module.place)].push_back(&module);
    }
  }
  for (const AdapterModule& module : modules) {
    if (!IsExpert(module.place.role->role)) {
      stacked.push_back(module);
      continue;
    }
    const auto it = tensors.find(NameInDialect(Dialect::kGguf, module.place));
    if (it == tensors.end()) continue;
    const int64_t rows = module.rows(), cols = module.cols();
    int64_t rank = 0;
    for (const AdapterModule* of : it->second) rank = std::max(rank, of->rank);
    AdapterModule all{module.place, rank, module.scale, {}, {}};
    all.place.expert = -1;
    all.a.resize(static_cast<size_t>(experts * rank * cols));
    all.b.resize(static_cast<size_t>(experts * rows * rank));
    for (const AdapterModule* of : it->second) {
      AdapterModule even = *of;
      Reshape(even, rank, module.scale);
      std::ranges::copy(even.a, all.a.begin() + of->place.expert * rank * cols);
      std::ranges::copy(even.b, all.b.begin() + of->place.expert * rows * rank);
    }
    stacked.push_back(std::move(all));
    tensors.erase(it);
  }
  return stacked;
}

std::vector<AdapterModule> EvenExperts(std::vector<AdapterModule> modules) {
  const AdapterModule* first = nullptr;
  int64_t rank = 0;
  for (const AdapterModule& module : modules) {
    if (!IsOfMixture(module.place.role->role)) continue;
    if (first == nullptr) first = &module;
    rank = std::max(rank, module.rank);
  }
  if (first == nullptr) return modules;
  const float scale = first->scale;
  for (AdapterModule& module : modules) {
    if (IsOfMixture(module.place.role->role)) Reshape(module, rank, scale);
  }
  return modules;
}

}  // namespace halftone
