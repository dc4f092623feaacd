#include "pipeline/adapter_files.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "grid/move_offsets.h"
#include "pipeline/adapter_formats.h"

namespace halftone {
namespace {

RowPlaces PlacesOf(const LoadedModel& model, const RolePlace& place, int64_t rows) {
  return {model.checkpoint.dialect, place, model.weights.parameters, rows};
}

RolePlace PlaceOfLayer(const LoadedModel& model, const std::string& name) {
  return *PlaceOf(*model.weights.architecture, Dialect::kGguf, name);
}

// Whose matrix it is; -1: none's.
int64_t ExpertOf(const LoadedModel& model, const AdapterPart& part) {
  const bool expert = IsExpert(PlaceOfLayer(model, part.name).role->role);
  return expert ? part.first_row / part.rows : -1;
}

// All linear layers that are rows of the tensor of that name, in their order; of experts the
// place's only.
std::vector<const Linear*> LayersNamed(const ModelWeights& model, const RolePlace& place,
                                       const std::string& name) {
  std::vector<const Linear*> found;
  if (place.layer < 0 || place.layer >= std::ssize(model.layers)) return found;
  VisitAdaptable(model.layers[static_cast<size_t>(place.layer)], [&](const Linear& linear) {
    const bool other = place.expert >= 0 && linear.first_row != place.expert * linear.weight->rows;
    if (linear.name == name && !other) found.push_back(&linear);
  });
  return found;
}

bool SameA(const Adapter& adapter, const AdapterPart& left, const AdapterPart& right) {
  const float* values = adapter.values->data();
  return left.rank == right.rank &&
         std::equal(values + left.a, values + left.b_turned, values + right.a);
}

}  // namespace

std::vector<AdapterModule> ReadAdapterModules(const std::string& path,
                                              const Architecture& architecture,
                                              const Hyperparameters& parameters) {
  return std::filesystem::is_directory(path) ? ReadPeftModules(path, architecture, parameters)
                                             : ReadGgufModules(path, architecture, parameters);
}

Adapter AdapterFor(const LoadedModel& model, const std::vector<AdapterModule>& modules,
                   const std::string& source) {
  Adapter adapter;
  adapter.values = std::make_shared<std::vector<float>>();
  for (const AdapterModule& module : modules) {
    const std::string name = NameInDialect(Dialect::kGguf, module.place);
    const auto layers = LayersNamed(model.weights, module.place, name);
    int64_t rows = 0;
    for (const Linear* linear : layers) rows += linear->weight->rows;
    if (layers.empty() || rows != module.rows() || layers[0]->weight->cols != module.cols()) {
      std::optional<std::vector<int64_t>> found;
      if (!layers.empty()) found = {rows, layers[0]->weight->cols};
      FailOtherModel(source, module, model.checkpoint.path, found);
    }
    const RowPlaces places = PlacesOf(model, module.place, rows);
    for (const Linear* linear : layers) {
      const int64_t first = module.place.expert >= 0 ? 0 : linear->first_row;
      AdapterPart part{
          name,        linear->first_row, module.rank, linear->weight->rows, linear->weight->cols,
          module.scale};
      part.a = adapter.values->size();
      part.b_turned = part.a + module.a.size();
      adapter.values->resize(part.a + part.values());
      float* values = adapter.values->data();
      std::ranges::copy(module.a, values + part.a);
      for (int64_t r = 0; r < part.rows; ++r) {
        const float* from = module.b.data() + places(first + r) * module.rank;
        for (int64_t k = 0; k < part.rank; ++k) values[part.b_turned + k * part.rows + r] = from[k];
      }
      adapter.parts.push_back(std::move(part));
    }
  }
  return adapter;
}

std::vector<AdapterModule> ModulesOf(const LoadedModel& model, const Adapter& adapter) {
  std::vector<std::vector<const AdapterPart*>> tensors;  // parts of one tensor each, or expert
  std::map<std::pair<std::string_view, int64_t>, size_t> known;
  for (const AdapterPart& part : adapter.parts) {
    const int64_t expert = ExpertOf(model, part);
    const auto [it, fresh] =
        known.emplace(std::pair(std::string_view(part.name), expert), tensors.size());
    if (fresh) tensors.emplace_back();
    tensors[it->second].push_back(&part);
  }
  std::vector<AdapterModule> modules;
  const float* values = adapter.values->data();
  for (const auto& parts : tensors) {
    const AdapterPart& first = *parts[0];
    const bool shared = std::ranges::all_of(
        parts, [&](const AdapterPart* part) { return SameA(adapter, first, *part); });
    AdapterModule module{PlaceOfLayer(model, first.name), 0, first.scale, {}, {}};
    module.place.expert = ExpertOf(model, first);
    int64_t rows = 0;
    for (const Linear* linear : LayersNamed(model.weights, module.place, first.name)) {
      rows += linear->weight->rows;
    }
    for (const AdapterPart* part : parts) {
      if (shared && part != parts[0]) break;
      module.rank += part->rank;
      module.a.insert(module.a.end(), values + part->a, values + part->b_turned);
    }
    module.b.resize(static_cast<size_t>(rows * module.rank));
    const RowPlaces places = PlacesOf(model, module.place, rows);
    int64_t column = 0;
    for (const AdapterPart* part : parts) {
      const int64_t own = module.place.expert >= 0 ? 0 : part->first_row;
      for (int64_t r = 0; r < part->rows; ++r) {
        float* to = module.b.data() + places(own + r) * module.rank + column;
        for (int64_t k = 0; k < part->rank; ++k) {
          to[k] = values[part->b_turned + k * part->rows + r] * (part->scale / first.scale);
        }
      }
      if (!shared) column += part->rank;
    }
    modules.push_back(std::move(module));
  }
  return modules;
}

bool IsSharedInGroups(const AdapterModule& module, int64_t group) {
  for (size_t i = 0; i < module.a.size(); ++i) {
    if (module.a[i] != module.a[i - i % static_cast<size_t>(group)]) return false;
  }
  return true;
}

int64_t ShareInGroups(const LoadedModel& model, Adapter& adapter) {
  int64_t shared = 0;
  for (AdapterPart& part : adapter.parts) {
    const Checkpoint& checkpoint = model.checkpoint;
    const Tensor* tensor =
        checkpoint.Find(NameInDialect(checkpoint.dialect, PlaceOfLayer(model, part.name)));
    const int64_t group = tensor == nullptr || tensor->order ? 0 : OffsetGroup(*tensor->grid);
    if (group == 0) continue;
    ShareInGroups(part, group, *adapter.values);
    ++shared;
  }
  return shared;
}

Adapter LoadAdapter(const std::string& path, LoadedModel& model) {
  const auto modules =
      ReadAdapterModules(path, *model.weights.architecture, model.weights.parameters);
  Adapter adapter = AdapterFor(model, modules, path);
  Attach(adapter, model.weights, path);
  return adapter;
}

std::shared_ptr<const LoadedModel> LoadToRun(Checkpoint checkpoint, const std::string& adapter,
                                             std::shared_ptr<Ops> ops) {
  auto model = std::make_shared<LoadedModel>(std::move(checkpoint), std::move(ops));
  if (!adapter.empty()) LoadAdapter(adapter, *model);
  return model;
}

}  // namespace halftone
