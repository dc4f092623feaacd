#include "container/hf_parts.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace halftone {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{64} << 20;

}  // namespace

HfParts::HfParts(HfFolder folder) : folder_(std::move(folder)) {
  taken_.resize(folder_.tensors.size());
  for (size_t i = 0; i < folder_.tensors.size(); ++i) index_.emplace(folder_.tensors[i].name, i);
}

Json HfParts::config() const {
  const auto document = folder_.documents.find("config.json");
  if (document == folder_.documents.end()) return nullptr;
  return QuantizationConfigOf(ParseJson(document->second, folder_.path + ": config.json"));
}

const SafetensorsTensor* HfParts::Find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &folder_.tensors[it->second];
}

const SafetensorsTensor* HfParts::Take(const std::string& name) {
  const auto it = index_.find(name);
  if (it == index_.end()) return nullptr;
  taken_[it->second] = true;
  return &folder_.tensors[it->second];
}

const SafetensorsTensor& HfParts::Need(const std::string& name) {
  if (const SafetensorsTensor* part = Take(name)) return *part;
  halftone::FailFormat("{}: tensor '{}' is missing", path(), Printable(name));
}

void HfParts::Expect(const SafetensorsTensor& part, std::initializer_list<std::string_view> dtypes,
                     const std::vector<int64_t>& shape) const {
  if (std::ranges::find(dtypes, part.dtype->name) != dtypes.end() && part.shape == shape) return;
  std::string names;
  for (const std::string_view dtype : dtypes) {
    names += (names.empty() ? "" : " or ") + std::string(dtype);
  }
  FailFormat(part.name, "is {} {}, must be {} {}", part.dtype->name, ShapeText(part.shape), names,
             ShapeText(shape));
}

void HfParts::Throw(Error::Kind kind, std::string_view name, const std::string& message) const {
  Fail(kind, "{}: tensor '{}': {}", path(), Printable(name), message);
}

void HfParts::Put(const SafetensorsTensor& part, Tensor weight) {
  weights_.insert_or_assign(index_.at(part.name), std::move(weight));
}

Checkpoint HfParts::Finish(std::string_view container) {
  Checkpoint checkpoint;
  checkpoint.path = folder_.path;
  checkpoint.container = container;
  checkpoint.dialect = Dialect::kHuggingFace;
  checkpoint.file_bytes = folder_.file_bytes;
  checkpoint.documents = folder_.documents;
  checkpoint.mapped = folder_.mapped;
  for (size_t i = 0; i < folder_.tensors.size(); ++i) {
    if (const auto weight = weights_.find(i); weight != weights_.end()) {
      checkpoint.tensors.push_back(weight->second);
      continue;
    }
    if (taken_[i]) continue;
    const SafetensorsTensor& source = folder_.tensors[i];
    if (source.grid() == nullptr) {
      FailUnsupported(source.name, "{} is neither plain numbers nor part of a quantized weight",
                      source.dtype->name);
    }
    Tensor tensor;
    tensor.grid = source.grid();
    tensor.name = source.name;
    tensor.shape = source.shape;
    tensor.data = source.data;
    tensor.owner = source.owner;
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return checkpoint;
}

Json QuantizationConfigOf(const Json& config) {
  if (!config.is_object()) return nullptr;
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = config.find(key);
    if (it != config.end() && it->is_object()) return *it;
  }
  return nullptr;
}

Json QuantizationConfigAt(const std::filesystem::path& path) noexcept {
  try {
    if (!IsHfFolder(path)) return nullptr;
    const bool folder = std::filesystem::is_directory(path);
    const auto file = (folder ? path : path.parent_path()) / "config.json";
    return QuantizationConfigOf(ParseJson(ReadTextFile(file, kMaxConfigBytes), file.string()));
  } catch (...) {
    return nullptr;
  }
}

}  // namespace halftone
