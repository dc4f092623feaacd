// Options that several calls share, in the words that Python has for them.

#pragma once

#include <string>

#include "halftone/activations.h"
#include "halftone/error.h"

namespace halftone::python {

inline const char* NameOf(Activations activations) {
  switch (activations) {
    case Activations::kF32:
      return "f32";
    case Activations::kInt8:
      return "int8";
    case Activations::kBf16:
      return "bf16";
  }
  return "";
}

inline Activations ActivationsNamed(const std::string& name) {
  for (const Activations one : {Activations::kF32, Activations::kInt8, Activations::kBf16}) {
    if (name == NameOf(one)) return one;
  }
  throw Error(Error::Kind::kUsage, "activations are 'int8', 'bf16' or 'f32', not '" + name + "'");
}

}  // namespace halftone::python
