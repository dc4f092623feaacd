// What GPTQ's and AWQ's checkpoints have in common outside of their tensors: settings that lie in
// config.json or in a file of their own beside it, and weights in files that are named as their
// program liked.

#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "container/hf_folder.h"
#include "container/hf_parts.h"

namespace halftone {

// How the weights are quantized, as the checkpoint says it.
class PackedSettings {
 public:
  // The quantization_config of the parts' config.json, or else the first of `files` beside it that
  // exists; empty if there is neither. Throws Error (kFormat) for broken JSON.
  PackedSettings(const HfParts& parts, std::initializer_list<std::string_view> files);

  bool empty() const { return json_.empty(); }
  // The file, for messages.
  const std::string& source() const { return source_; }

  // The value of the first key that is there and not null. Throws Error (kFormat) naming file and
  // key for a value of another type.
  std::optional<int64_t> Integer(std::initializer_list<std::string_view> keys) const;
  std::optional<bool> Flag(std::initializer_list<std::string_view> keys) const;
  std::optional<std::string> Text(std::initializer_list<std::string_view> keys) const;
  bool Has(std::string_view key) const { return Find({key}) != nullptr; }

 private:
  const Json* Find(std::initializer_list<std::string_view> keys) const;
  [[noreturn]] void FailType(std::initializer_list<std::string_view> keys,
                             std::string_view expected) const;

  Json json_;
  std::string source_;
};

// For recognition, which never throws: the "quant_method" that config.json names, or else the
// `file` beside it, where `method` is what a file without the key means; empty for none.
std::string QuantMethodAt(const std::filesystem::path& path, std::string_view file,
                          std::string_view method) noexcept;

// Whether the names of the checkpoint's tensors hold `text`. A look at the index or the header as
// text; for checkpoints without any settings.
bool TensorNamesHold(const std::filesystem::path& path, std::string_view text) noexcept;

// As OpenHfFolder, but a folder whose only .safetensors file has a name of its own
// (gptq_model-4bit-128g.safetensors) opens too.
HfFolder OpenPackedFolder(const std::filesystem::path& path);

// Whether a part of a dotted name is a number: the module is repeated from layer to layer, and
// readers expect its matrices to be quantized.
bool NameHasNumber(std::string_view name);

}  // namespace halftone
