// A model folder as Hugging Face's libraries write it: weights in one or several .safetensors
// files, settings and tokenizer in small text files beside them. What the tensors mean (plain or
// quantized weights) is for the containers that share this to say.

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "container/safetensors_file.h"

namespace halftone {

struct HfFolder {
  std::string path;
  uint64_t file_bytes = 0;  // of the .safetensors files
  // By file name, those of the list in hf_folder.cc that exist.
  std::map<std::string, std::string> documents;
  std::vector<SafetensorsTensor> tensors;  // file by file, in the order of their data
  std::vector<std::shared_ptr<const MappedFile>> mapped;
};

// Whether `path` is a folder with a config.json or weights in it, a single .safetensors file, or a
// file of pickled weights (which OpenHfFolder refuses with advice). Never throws.
bool IsHfFolder(const std::filesystem::path& path);

// Opens a folder (model.safetensors, or else the parts that model.safetensors.index.json names, or
// else peft's adapter_model.safetensors, or else its only .safetensors file) or a single .safetensors file, whose
// documents are those in the folder around it. Throws Error naming file, tensor and byte offset;
// kUnsupported for pickled weights and those of other frameworks.
HfFolder OpenHfFolder(const std::filesystem::path& path);

}  // namespace halftone
