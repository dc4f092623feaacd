// What lies in files of the same formats as models and is none: adapters, importance matrices,
// projectors, vocabularies. Whoever gives one where a model is wanted is told what it is.
//
// Sources: the values of general.type in GGUF's specification and gguf-py; peft's names of tensors.

#pragma once

#include <string_view>

#include "tensor/checkpoint.h"

namespace halftone {

struct FileKind {
  std::string_view name;    // "LoRA adapter"
  std::string_view advice;  // what it is for, in one sentence: "... goes to ..."
  bool quantizes = false;   // whether its tensors are weights like a model's
};

// Null for a model, and for what nobody can tell.
const FileKind* KindBesideModel(const Checkpoint& checkpoint);

// Throws Error (kUnsupported) "<path>: is no model but a ..." where there is such a kind.
void RequireModel(const Checkpoint& checkpoint);

}  // namespace halftone
