// The small files beside the weights of a model folder.

#pragma once

#include <map>
#include <span>
#include <string>

#include "container/container.h"
#include "pipeline/source.h"

namespace halftone {

// The documents that a container of Hugging Face's kind writes with these tensors, by file name;
// none for others. Those of a folder are kept as they are; a GGUF file's metadata are translated.
// Throws Error (kUnsupported) for what has no such form.
std::map<std::string, std::string> DocumentsFor(const Source& source, const Container& container,
                                                std::span<const TensorPlan> tensors);

}  // namespace halftone
