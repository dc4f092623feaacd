// Options that several calls share, in the words that Python has for them.

#pragma once

#include <string>

#include "halftone/activations.h"
#include "halftone/error.h"

namespace halftone::python {

inline const char* NameOf(Activations activations) {
  return activations == Activations::kF32 ? "f32" : "int8";
}

inline Activations ActivationsNamed(const std::string& name) {
  if (name == "f32") return Activations::kF32;
  if (name == "int8") return Activations::kInt8;
  throw Error(Error::Kind::kUsage, "activations are 'int8' or 'f32', not '" + name + "'");
}

}  // namespace halftone::python
