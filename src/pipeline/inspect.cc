// Inspect, DecodeTensor and WriteNpyFile: what a file holds, for any readable file, also of a model
// that nobody here can run.

#include "halftone/inspect.h"

#include <algorithm>
#include <filesystem>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/nearest_name.h"
#include "base/npy.h"
#include "base/printable.h"
#include "container/container.h"
#include "container/hf_folder.h"
#include "model/architecture.h"
#include "model/dialect.h"
#include "model/file_kind.h"
#include "model/hyperparameters.h"
#include "model/shapes.h"
#include "model/text_model.h"

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

TensorInfo Describe(const SafetensorsTensor& tensor) {
  TensorInfo info;
  info.name = tensor.name;
  info.grid = tensor.dtype->name;
  info.shape = tensor.shape;
  info.bytes = tensor.data.size();
  info.bits_per_weight = tensor.dtype->bits;
  return info;
}

int64_t CountOf(const TensorInfo& tensor) {
  int64_t count = 1;
  for (const int64_t extent : tensor.shape) count *= extent;
  return count;
}

// A file or folder, whether its weights can be read or only listed.
struct Opened {
  Checkpoint checkpoint;
  std::vector<TensorInfo> tensors;
  std::string unread;  // why the weights are only listed
};

Opened Open(const std::string& path) {
  Opened opened;
  try {
    opened.checkpoint = OpenCheckpoint(path);
    for (const Tensor& tensor : opened.checkpoint.tensors) {
      opened.tensors.push_back(Describe(tensor));
    }
    return opened;
  } catch (const Error& error) {
    if (error.kind() != Error::Kind::kUnsupported || !IsHfFolder(path)) throw;
    opened.unread = error.what();
  }
  // Pickled weights and their like fail here as well.
  HfFolder folder = OpenHfFolder(path);
  opened.checkpoint.path = folder.path;
  opened.checkpoint.container = "safetensors";
  opened.checkpoint.dialect = Dialect::kHuggingFace;
  opened.checkpoint.file_bytes = folder.file_bytes;
  opened.checkpoint.documents = std::move(folder.documents);
  for (const SafetensorsTensor& tensor : folder.tensors) {
    opened.tensors.push_back(Describe(tensor));
  }
  return opened;
}

// The settings of peft's adapters, which lie in a file of their own.
Json AdapterSettings(const std::string& path) {
  const std::filesystem::path given = path;
  const auto folder = std::filesystem::is_directory(given) ? given : given.parent_path();
  const auto file = folder / "adapter_config.json";
  if (!std::filesystem::is_regular_file(file)) return Json::object();
  Json settings = ParseJson(ReadTextFile(file, uint64_t{64} << 20), file.string());
  if (!settings.is_object()) FailFormat("{}: not a JSON object", file.string());
  return settings;
}

void NoteStrayTensors(const Checkpoint& model, const Architecture& architecture,
                      std::vector<std::string>& notes) {
  const auto stray = StrayTensors(model, architecture);
  if (stray.empty()) return;
  notes.push_back(fmt::format(
      "{} tensor{} not part of architecture '{}', '{}' the first: running leaves {} out{}",
      stray.size(), stray.size() == 1 ? " is" : "s are", architecture.name, Printable(stray[0]),
      stray.size() == 1 ? "it" : "them",
      model.dialect == Dialect::kGguf ? "" : ", quantizing and converting refuse"));
}

// One part of several, named alone.
void NotePart(const std::string& path, std::vector<std::string>& notes) {
  const std::filesystem::path file = path;
  if (file.extension() != ".safetensors" || !std::filesystem::is_regular_file(file)) return;
  const std::string name = file.stem().string();
  const size_t of = name.rfind("-of-");
  if (of == std::string::npos || name.substr(of + 4).find_first_not_of("0123456789") != name.npos) {
    return;
  }
  notes.push_back("it is one part of a model: name the folder to have all of them");
}

std::vector<std::string> NotesOf(const Opened& opened) {
  const Checkpoint& checkpoint = opened.checkpoint;
  std::vector<std::string> notes;
  NotePart(checkpoint.path, notes);
  if (!opened.unread.empty()) {
    notes.push_back("the tensors are listed as they lie in the files; " + opened.unread);
    return notes;
  }
  if (const FileKind* kind = KindBesideModel(checkpoint)) {
    notes.push_back(fmt::format("{}: {}", kind->name, kind->advice));
    return notes;
  }
  try {
    const Architecture& architecture = ArchitectureOf(checkpoint);
    const Checkpoint model = TextModelOf(checkpoint);
    NoteStrayTensors(model, architecture, notes);
    CheckShapes(model, architecture, ReadHyperparameters(model, architecture));
  } catch (const Error& error) {
    const bool only_unknown = checkpoint.dialect == Dialect::kGguf &&
                              checkpoint.metadata.String("general.architecture") != nullptr &&
                              error.kind() == Error::Kind::kUnsupported;
    notes.push_back(fmt::format("it cannot be run{}: {}",
                                only_unknown ? " but quantized to GGUF" : "", error.what()));
  }
  return notes;
}

}  // namespace

Inspection Inspect(const std::string& path) {
  const Opened opened = Open(path);
  const Checkpoint& checkpoint = opened.checkpoint;
  Json config = ConfigOf(checkpoint);
  const FileKind* kind = KindBesideModel(checkpoint);
  if (kind != nullptr && checkpoint.dialect == Dialect::kHuggingFace && config.empty()) {
    config = AdapterSettings(path);
  }
  Inspection inspection;
  if (kind != nullptr) inspection.kind = kind->name;
  inspection.notes = NotesOf(opened);
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
  for (const TensorInfo& tensor : opened.tensors) {
    inspection.tensors.push_back(tensor);
    inspection.tensor_bytes += tensor.bytes;
    inspection.parameters += CountOf(tensor);
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
