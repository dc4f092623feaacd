// The tables, flattened for front ends.

#include "halftone/support.h"

#include "container/container.h"
#include "grid/grid.h"
#include "kernel/ops.h"
#include "method/transform.h"
#include "model/architecture.h"
#include "pipeline/presets.h"

namespace halftone {

std::vector<GridInfo> Grids() {
  std::vector<GridInfo> grids;
  for (const Grid* grid : AllGrids()) {
    grids.push_back({std::string(grid->name), grid->bits_per_weight(), grid->block,
                     grid->writable(), grid->plain, grid->importance == Importance::kRequired});
  }
  return grids;
}

std::vector<std::string> KvGrids() {
  std::vector<std::string> names;
  for (const Grid* grid : CacheGrids()) names.emplace_back(grid->name);
  return names;
}

std::vector<NamedSummary> Presets() {
  std::vector<NamedSummary> presets;
  for (const Preset& preset : AllPresets()) {
    if (preset.mix) presets.push_back({std::string(preset.name), std::string(preset.summary)});
  }
  return presets;
}

std::vector<NamedSummary> Methods() {
  std::vector<NamedSummary> methods;
  for (const Method* method : AllMethods()) {
    methods.push_back({std::string(method->name), std::string(method->summary)});
  }
  for (const Transform* transform : AllTransforms()) {
    methods.push_back({std::string(transform->name), std::string(transform->summary)});
  }
  return methods;
}

std::vector<NamedSummary> Containers() {
  std::vector<NamedSummary> containers;
  for (const Container* container : AllContainers()) {
    containers.push_back({std::string(container->name), std::string(container->summary)});
  }
  return containers;
}

std::vector<std::string> Architectures() {
  std::vector<std::string> names;
  for (const Architecture* architecture : AllArchitectures()) {
    names.emplace_back(architecture->name);
  }
  return names;
}

std::string Version() { return HALFTONE_VERSION; }

}  // namespace halftone
