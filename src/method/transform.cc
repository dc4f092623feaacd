#include "method/transform.h"

#include <algorithm>

#include "base/error.h"
#include "base/nearest_name.h"

namespace halftone {

#define HT_TRANSFORM(name) extern const Transform kTransform_##name;
#include "method/transforms.def"
#undef HT_TRANSFORM

namespace {

constexpr const Transform* kTransforms[] = {
#define HT_TRANSFORM(name) &kTransform_##name,
#include "method/transforms.def"
#undef HT_TRANSFORM
};

const Transform* FindTransform(std::string_view name) {
  const auto it = std::ranges::find(kTransforms, name, &Transform::name);
  return it == std::end(kTransforms) ? nullptr : *it;
}

}  // namespace

std::span<const Transform* const> AllTransforms() { return kTransforms; }

Needs Recipe::needs() const {
  return transform == nullptr ? method->needs : std::max(method->needs, Needs::kGram);
}

Recipe RecipeNamed(std::string_view name) {
  const size_t plus = name.find('+');
  const std::string_view first = name.substr(0, plus);
  if (const Transform* transform = FindTransform(first)) {
    const std::string_view rest =
        plus == std::string_view::npos ? transform->method : name.substr(plus + 1);
    return {transform, &MethodNamed(rest)};
  }
  if (plus == std::string_view::npos) {
    std::vector<std::string_view> names;
    for (const Method* method : AllMethods()) {
      if (method->name == name) return {nullptr, method};
      names.push_back(method->name);
    }
    for (const Transform* transform : kTransforms) names.push_back(transform->name);
    FailUsage("unknown method '{}'; did you mean '{}'?", name, NearestName(name, names));
  }
  std::vector<std::string_view> names;
  for (const Transform* transform : kTransforms) names.push_back(transform->name);
  FailUsage("'{}' cannot be followed by '+'; did you mean '{}'?", first, NearestName(first, names));
}

}  // namespace halftone
