// Models of the Hugging Face Hub: fetched into the cache that Hugging Face's own libraries use, and
// found there.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "halftone/progress.h"

namespace halftone {

struct PullOptions {
  Progress* progress = nullptr;  // not owned, may be null
};

struct PulledFile {
  std::string name;  // in the repository
  uint64_t bytes = 0;
  bool fetched = false;  // false: the cache had it
};

struct PullReport {
  std::string repository;  // "ORG/NAME"
  std::string revision;    // as asked for, "main"
  std::string commit;
  std::string path;  // what every other function opens: a file, or a folder
  uint64_t bytes = 0;
  uint64_t fetched_bytes = 0;
  double seconds = 0;
  std::vector<PulledFile> files;
};

// Fetches what `model` names, "ORG/NAME[:FILE][@REVISION]", as far as the cache lacks it. FILE is a
// file of the repository or the name of a quantization, "Q8_0"; without it a folder of safetensors,
// or the only .gguf file. Where the hub is, where the cache and whose token: the environment says,
// as for huggingface_hub (HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE). An
// interrupted download is taken up again. Throws Error: kUsage for what is no such name or leaves
// open which file is meant, kUnsupported for pickled weights, kIo for what the hub or the disk
// refuses, kFormat for wrong checksums.
PullReport Pull(const std::string& model, const PullOptions& options);

// Whether the text names a model of the hub: it follows the pattern above, and no file or folder
// lies there, nor a folder ORG that it would lie in.
bool IsHubModel(const std::string& model);

// `model` itself, or where the model of the hub that it names lies after Pull.
std::string LocalModel(const std::string& model, Progress* progress = nullptr);

}  // namespace halftone
