// Inspect, DecodeTensor and WriteNpyFile: what a file holds, for any readable file, also of a model
// that nobody here can run.

#include "halftone/inspect.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "base/nearest_name.h"
#include "base/npy.h"
#include "base/printable.h"
#include "container/container.h"

namespace halftone {
namespace {

// Longer values are cut; the CLI shows one line each.
constexpr size_t kMaxText = 64;

constexpr const char* kConfig = "config.json";

std::string Shortened(std::string text) {
  if (text.size() <= kMaxText) return text;
  size_t end = kMaxText;  // never within a UTF-8 sequence
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// A Hugging Face folder's config.json, or an empty object.
Json ConfigOf(const Checkpoint& checkpoint) {
  const auto document = checkpoint.documents.find(kConfig);
  if (document == checkpoint.documents.end()) return Json::object();
  const std::string source = checkpoint.path + "/" + kConfig;
  Json config = ParseJson(document->second, source);
  if (!config.is_object()) FailFormat("{}: not a JSON object", source);
  return config;
}

std::string ArchitectureName(const Checkpoint& checkpoint, const Json& config) {
  if (checkpoint.dialect == Dialect::kGguf) {
    const std::string* name = checkpoint.metadata.String("general.architecture");
    return name == nullptr ? "" : *name;
  }
  const auto classes = config.find("architectures");
  if (classes != config.end() && classes->is_array() && !classes->empty() &&
      classes->front().is_string()) {
    return classes->front();
  }
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : "";
}

MetadataInfo Describe(const std::string& key, const Json& value) {
  if (value.is_string()) return {key, "string", Shortened(value.get<std::string>())};
  const char* type = value.is_boolean()          ? "bool"
                     : value.is_number_float()   ? "float"
                     : value.is_number_integer() ? "integer"
                                                 : value.type_name();
  // Not every string in a JSON document is UTF-8; dump() would throw.
  return {key, type, Shortened(value.dump(-1, ' ', false, Json::error_handler_t::replace))};
}

TensorInfo Describe(const Tensor& tensor) {
  TensorInfo info;
  info.name = tensor.name;
  info.grid = tensor.grid->title;
  info.shape = tensor.shape;
  info.bytes = tensor.bytes();
  const int64_t count = tensor.count();
  info.bits_per_weight =
      count > 0 ? 8.0 * static_cast<double>(info.bytes) / static_cast<double>(count) : 0;
  return info;
}

}  // namespace

Inspection Inspect(const std::string& path) {
  const Checkpoint checkpoint = OpenCheckpoint(path);
  const Json config = ConfigOf(checkpoint);
  Inspection inspection;
  inspection.path = checkpoint.path;
  inspection.container = checkpoint.container;
  inspection.architecture = ArchitectureName(checkpoint, config);
  inspection.file_bytes = checkpoint.file_bytes;
  for (const auto& [key, value] : checkpoint.metadata.entries()) {
    inspection.metadata.push_back({key, std::string(TypeName(value)), ValueText(value)});
  }
  for (const auto& [key, value] : config.items()) {
    inspection.metadata.push_back(Describe(key, value));
  }
  inspection.tensor_bytes = 0;
  inspection.parameters = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    inspection.tensors.push_back(Describe(tensor));
    inspection.tensor_bytes += inspection.tensors.back().bytes;
    inspection.parameters += tensor.count();
  }
  inspection.bits_per_weight = inspection.parameters > 0
                                   ? 8.0 * static_cast<double>(inspection.tensor_bytes) /
                                         static_cast<double>(inspection.parameters)
                                   : 0;
  return inspection;
}

DecodedTensor DecodeTensor(const std::string& path, const std::string& name) {
  const Checkpoint checkpoint = OpenCheckpoint(path);
  const Tensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) {
    if (checkpoint.tensors.empty()) FailUsage("{}: holds no tensors", path);
    std::vector<std::string_view> names;
    for (const Tensor& t : checkpoint.tensors) names.push_back(t.name);
    FailUsage("{}: there is no tensor '{}'; did you mean '{}'?", path, Printable(name),
              Printable(NearestName(name, names)));
  }
  return {tensor->shape, Decode(*tensor)};
}

void WriteNpyFile(const std::string& path, const std::vector<int64_t>& shape,
                  const std::vector<float>& values) {
  std::optional<uint64_t> count = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) count.reset();
    if (count) count = CheckedMul(*count, static_cast<uint64_t>(extent));
  }
  if (count != values.size()) {
    FailUsage("{}: {} values do not fill the shape {}", path, values.size(), ShapeText(shape));
  }
  WriteNpy(path, shape, values);
}

}  // namespace halftone
