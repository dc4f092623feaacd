#include "container/container.h"

#include "base/error.h"
#include "base/nearest_name.h"
#include "container/unrecognized.h"

namespace halftone {

#define HT_CONTAINER(name) extern const Container kContainer_##name;
#include "container/containers.def"
#undef HT_CONTAINER

namespace {

constexpr const Container* kContainers[] = {
#define HT_CONTAINER(name) &kContainer_##name,
#include "container/containers.def"
#undef HT_CONTAINER
};

}  // namespace

uint64_t TensorPlan::bytes() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return static_cast<uint64_t>(rows) * grid->RowBytes(shape.empty() ? 1 : shape.back());
}

std::span<const Container* const> AllContainers() { return kContainers; }

const Container* FindContainer(std::string_view name) {
  for (const Container* container : kContainers) {
    if (container->name == name) return container;
  }
  return nullptr;
}

const Container& ContainerNamed(std::string_view name) {
  if (const Container* container = FindContainer(name)) return *container;
  std::vector<std::string_view> names;
  for (const Container* container : kContainers) names.push_back(container->name);
  FailUsage("unknown container '{}'; did you mean '{}'?", name, NearestName(name, names));
}

Checkpoint OpenCheckpoint(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) FailIo("{}: no such file or folder", path.string());
  for (const Container* container : kContainers) {
    if (container->recognize(path)) return container->open(path);
  }
  FailUnrecognized(path);
}

}  // namespace halftone
