#include "container/hf_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeights = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kAdapter = "adapter_model.safetensors";
constexpr std::string_view kPickledWeights[] = {"pytorch_model.bin",
                                                "pytorch_model.bin.index.json"};
constexpr std::string_view kOtherWeights[] = {"tf_model.h5", "flax_model.msgpack"};

constexpr std::string_view kDocuments[] = {
    "config.json",           "tokenizer.json",         "tokenizer.model",
    "tokenizer_config.json", "generation_config.json", "chat_template.jinja"};
// The largest tokenizer.json in use has some 35 MB.
constexpr uint64_t kMaxDocumentBytes = uint64_t{256} << 20;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// Whether the file is named and begins as torch.save() makes it: a zip archive, or a bare pickle.
bool IsPickle(const fs::path& path) {
  constexpr std::string_view kExtensions[] = {".bin", ".pt", ".pth", ".ckpt"};
  if (std::ranges::find(kExtensions, path.extension().string()) == std::end(kExtensions)) {
    return false;
  }
  std::array<char, 4> begin{};
  std::ifstream file(path, std::ios::binary);
  if (!file.read(begin.data(), begin.size())) return false;
  return std::string_view(begin.data(), begin.size()) == "PK\x03\x04" || begin[0] == '\x80';
}

[[noreturn]] void FailPickled(const fs::path& path) {
  // Its stand-in says nothing of what it holds.
  if (const auto foreign = ForeignFile(BeginningOf(path));
      !foreign.empty() && path.extension() != ".json" && !IsPickle(path)) {
    FailFormat("{}: {}", path.string(), foreign);
  }
  FailUnsupported(
      "{}: holds pickled PyTorch weights, which may run code when they are loaded; convert them to "
      "safetensors first, in Python: "
      "transformers.AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)",
      path.string());
}

// The .safetensors files of a folder, by name.
std::vector<fs::path> WeightFiles(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors" && IsFile(entry.path())) {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

// Of a folder that has no .safetensors file at all.
[[noreturn]] void FailWithoutWeights(const fs::path& path) {
  for (const std::string_view name : kPickledWeights) {
    if (IsFile(path / name)) FailPickled(path / name);
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (IsFile(entry.path()) && IsPickle(entry.path())) FailPickled(entry.path());
  }
  for (const std::string_view name : kOtherWeights) {
    if (!IsFile(path / name)) continue;
    FailUnsupported(
        "{}: holds weights for TensorFlow or JAX, which are not read; save them as safetensors "
        "first",
        (path / name).string());
  }
  FailFormat("{}: holds neither {} nor {}: the weights are missing", path.string(), kWeights,
             kIndex);
}

// A part's name out of an index: it must stay in the folder whatever the index says.
fs::path PartPath(const fs::path& folder, const fs::path& index, const std::string& name) {
  const fs::path relative = name;
  const bool escapes =
      relative.is_absolute() || std::ranges::find(relative, "..") != relative.end();
  const bool odd = std::ranges::any_of(name, [](char c) { return static_cast<uint8_t>(c) < 0x20; });
  if (name.empty() || escapes || odd) {
    FailFormat("{}: the part '{}' is not a file name within the folder", index.string(),
               Printable(name));
  }
  return folder / relative;
}

// Which part each tensor lies in, and the parts in the order of their names.
struct Index {
  std::unordered_map<std::string, std::string> part_of;
  std::set<std::string> parts;
};

Index ReadIndex(const fs::path& path) {
  const Json json = ParseJson(ReadTextFile(path, kMaxDocumentBytes), path.string());
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object()) {
    FailFormat("{}: has no object 'weight_map'", path.string());
  }
  Index index;
  for (const auto& [tensor, part] : map->items()) {
    if (!part.is_string()) {
      FailFormat("{}: tensor '{}': the part must be a string", path.string(), Printable(tensor));
    }
    index.part_of[tensor] = part.get<std::string>();
    index.parts.insert(part.get<std::string>());
  }
  return index;
}

void AddFile(SafetensorsFile file, HfFolder& folder) {
  folder.file_bytes += file.file_bytes;
  folder.mapped.push_back(std::move(file.mapped));
  std::ranges::move(file.tensors, std::back_inserter(folder.tensors));
}

// All tensors of all parts count, listed or not, as in transformers; the index must not promise a
// tensor that is not there.
void ReadParts(const fs::path& path, const fs::path& index_path, HfFolder& folder) {
  const Index index = ReadIndex(index_path);
  // A download that ended early lacks several: all are named.
  std::vector<std::string> missing;
  for (const std::string& part : index.parts) {
    if (!IsFile(PartPath(path, index_path, part))) missing.push_back(Printable(part));
  }
  if (!missing.empty()) {
    FailIo("{}: {} of {} parts are missing: {}", index_path.string(), missing.size(),
           index.parts.size(), fmt::format("{}", fmt::join(missing, ", ")));
  }
  std::unordered_map<std::string, std::string> found;
  for (const std::string& part : index.parts) {
    SafetensorsFile file = ReadSafetensors(PartPath(path, index_path, part));
    for (const SafetensorsTensor& tensor : file.tensors) {
      const auto [it, added] = found.emplace(tensor.name, part);
      if (!added) {
        FailFormat("{}: tensor '{}' lies in '{}' and in '{}'", index_path.string(),
                   Printable(tensor.name), Printable(it->second), Printable(part));
      }
    }
    AddFile(std::move(file), folder);
  }
  for (const auto& [tensor, part] : index.part_of) {
    const auto it = found.find(tensor);
    if (it == found.end() || it->second != part) {
      FailFormat("{}: tensor '{}' is not in '{}'", index_path.string(), Printable(tensor),
                 Printable(part));
    }
  }
}

void ReadDocuments(const fs::path& folder, HfFolder& result) {
  for (const std::string_view name : kDocuments) {
    const fs::path path = folder / name;
    if (IsFile(path)) result.documents.emplace(name, ReadTextFile(path, kMaxDocumentBytes));
  }
}

}  // namespace

bool IsHfFolder(const fs::path& path) {
  if (IsFile(path)) return path.extension() == ".safetensors" || IsPickle(path);
  if (IsFile(path / "config.json") || !WeightFiles(path).empty() || IsFile(path / kIndex)) {
    return true;
  }
  return std::ranges::any_of(kPickledWeights,
                             [&](std::string_view name) { return IsFile(path / name); });
}

HfFolder OpenHfFolder(const fs::path& path) {
  HfFolder folder;
  folder.path = path.string();
  if (IsFile(path)) {
    if (path.extension() != ".safetensors") FailPickled(path);
    AddFile(ReadSafetensors(path), folder);
    ReadDocuments(path.parent_path(), folder);
    return folder;
  }
  if (IsFile(path / kWeights)) {
    AddFile(ReadSafetensors(path / kWeights), folder);
  } else if (IsFile(path / kIndex)) {
    ReadParts(path, path / kIndex, folder);
  } else if (IsFile(path / kAdapter)) {
    AddFile(ReadSafetensors(path / kAdapter), folder);
  } else if (const auto files = WeightFiles(path); files.size() == 1) {
    AddFile(ReadSafetensors(files[0]), folder);
  } else if (files.size() > 1) {
    FailUsage(
        "{}: holds {} .safetensors files but no {}, which says what parts of a model they are; "
        "download it, or name one of them: {}",
        path.string(), files.size(), kIndex, files[0].filename().string());
  } else {
    FailWithoutWeights(path);
  }
  ReadDocuments(path, folder);
  return folder;
}

}  // namespace halftone
