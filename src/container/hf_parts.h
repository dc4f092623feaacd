// Reading folders whose weights consist of several tensors each (codes, scales, zeros apart): finds
// the parts of a weight by name, checks them, and passes on as plain tensors what is part of none.

#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "container/hf_folder.h"
#include "tensor/checkpoint.h"

namespace halftone {

class HfParts {
 public:
  explicit HfParts(HfFolder folder);

  const std::string& path() const { return folder_.path; }
  const std::vector<SafetensorsTensor>& tensors() const { return folder_.tensors; }

  // The object that says how the checkpoint is quantized, as QuantizationConfigOf.
  Json config() const;

  // Null where there is none.
  const SafetensorsTensor* Find(const std::string& name) const;
  // As Find; the tensor counts as a part of some weight from now on.
  const SafetensorsTensor* Take(const std::string& name);
  // Throws Error (kFormat) where there is none.
  const SafetensorsTensor& Need(const std::string& name);
  // Throws Error (kFormat) unless dtype (one of these) and shape are as they must be.
  void Expect(const SafetensorsTensor& part, std::initializer_list<std::string_view> dtypes,
              const std::vector<int64_t>& shape) const;

  // Throws Error about a tensor: "<path>: tensor '<name>': ...".
  template <class... Args>
  [[noreturn]] void FailFormat(std::string_view name, fmt::format_string<Args...> format,
                               Args&&... args) const {
    Throw(Error::Kind::kFormat, name, fmt::vformat(format, fmt::make_format_args(args...)));
  }
  template <class... Args>
  [[noreturn]] void FailUnsupported(std::string_view name, fmt::format_string<Args...> format,
                                    Args&&... args) const {
    Throw(Error::Kind::kUnsupported, name, fmt::vformat(format, fmt::make_format_args(args...)));
  }

  // `weight` stands in the checkpoint where `part` stands in the files.
  void Put(const SafetensorsTensor& part, Tensor weight);

  // The checkpoint: weights that were put together, and all tensors that are part of none. Throws
  // Error (kUnsupported) for such a tensor whose dtype no plain grid has.
  Checkpoint Finish(std::string_view container);

 private:
  [[noreturn]] void Throw(Error::Kind kind, std::string_view name,
                          const std::string& message) const;

  HfFolder folder_;
  std::unordered_map<std::string_view, size_t> index_;  // into folder_.tensors
  std::vector<bool> taken_;
  std::unordered_map<size_t, Tensor> weights_;  // by the index of the part that they stand for
};

// `quantization_config` of a config.json (`compression_config` in older ones), or null.
Json QuantizationConfigOf(const Json& config);

// The same for the folder or file at `path`. Null for whatever is missing or broken.
Json QuantizationConfigAt(const std::filesystem::path& path) noexcept;

}  // namespace halftone
