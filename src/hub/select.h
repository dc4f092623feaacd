// Which files of a repository make up the model.
//
// - A named file, with all parts of a split one (<prefix>-00001-of-00005.gguf).
// - A quantization's name ("Q8_0"): the .gguf file, or the split one, that has it as a word of its
//   name.
// - Nothing named: the folder of safetensors where there is one, settings and tokenizer with it;
//   else the repository's only .gguf file. Several are refused with their names, since nothing says
//   which is meant.
//
// Pickled weights (.bin, .pt, .pth, .ckpt) are never fetched: loading them runs what they say.
// What lies beside the model but is none of it is left out: other formats (onnx, flax), vision
// projectors and importance matrices in GGUF, a second copy of the weights in another layout.

#pragma once

#include <string>
#include <vector>

#include "hub/hub_id.h"

namespace halftone {

struct Selection {
  std::vector<std::string> files;  // by their names in the repository
  std::string index;  // the one of `files` that names the parts of the weights; empty: none
  std::string open;   // what is opened then: a file, or empty for the folder itself
};

// Throws Error (kUsage) where the choice is not clear or the files do not exist, kUnsupported for a
// repository of pickled weights only. `complete`: the listing is the hub's own, and not what a
// cache has of it.
Selection SelectFiles(const HubId& id, const std::vector<std::string>& listing, bool complete);

// The files that an index of safetensors names, each once, sorted. Throws Error (kFormat) for a
// broken index and for parts that are not in the listing. `source` names it in messages.
std::vector<std::string> IndexParts(const std::string& text, const std::string& source,
                                    const std::vector<std::string>& listing);

}  // namespace halftone
