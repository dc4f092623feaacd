#include "pipeline/adapter_formats.h"

#include "base/error.h"
#include "base/finite.h"
#include "base/printable.h"

namespace halftone {

AdapterModule ModuleFrom(const std::string& path, const Architecture& architecture, Dialect dialect,
                         const std::string& name, const AdapterHalves& halves) {
  const auto place = PlaceOf(architecture, dialect, name);
  const bool linear =
      place && (IsLayerLinear(*place) || (place->role->role == Role::kRouter && !place->bias));
  if (!linear) {
    FailFormat("{}: '{}' is no linear layer of {}: it is another model's adapter", path,
               Printable(name), architecture.name);
  }
  return ModuleFrom(path, name, *place, halves);
}

AdapterModule ModuleFrom(const std::string& path, const std::string& name, const RolePlace& place,
                         const AdapterHalves& halves) {
  if (halves.a.grid == nullptr || halves.b.grid == nullptr) {
    FailFormat("{}: '{}' has only one half of its pair", path, Printable(name));
  }
  const auto& [a, b] = halves;
  if (a.shape.size() != 2 || b.shape.size() != 2 || a.shape[0] != b.shape[1] || a.shape[0] < 1) {
    FailFormat("{}: '{}' has matrices of {} and {}, which do not go together", path,
               Printable(name), ShapeText(a.shape), ShapeText(b.shape));
  }
  AdapterModule module{place, a.shape[0], 1, Decode(a), Decode(b)};
  if (!AllFinite(module.a) || !AllFinite(module.b)) {
    FailFormat("{}: '{}' holds a value that is not finite", path, Printable(name));
  }
  return module;
}

std::vector<uint8_t> BytesOn(const Grid& type, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(type.RowBytes(std::ssize(values)));
  type.Encode(values.data(), std::ssize(values), nullptr, bytes.data());
  return bytes;
}

void FailOtherModel(const std::string& path, const AdapterModule& module, const std::string& model,
                    const std::optional<std::vector<int64_t>>& found) {
  FailFormat("{}: '{}' is for a layer of [{}, {}], but {} has {}: it is another model's adapter",
             path, NameInDialect(Dialect::kHuggingFace, module.place), module.rows(), module.cols(),
             model, found ? ShapeText(*found) : "none");
}

}  // namespace halftone
