#include "method/method.h"

#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"

namespace halftone {

#define HT_METHOD(name) extern const Method kMethod_##name;
#include "method/methods.def"
#undef HT_METHOD

namespace {

constexpr const Method* kMethods[] = {
#define HT_METHOD(name) &kMethod_##name,
#include "method/methods.def"
#undef HT_METHOD
};

}  // namespace

std::span<const Method* const> AllMethods() { return kMethods; }

const Method& MethodNamed(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Method* method : kMethods) {
    if (method->name == name) return *method;
    names.push_back(method->name);
  }
  FailUsage("unknown method '{}'; did you mean '{}'?", name, NearestName(name, names));
}

}  // namespace halftone
