#include "container/hf_packed_config.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <limits>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/mapped_file.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxSettingsBytes = uint64_t{64} << 20;
constexpr uint64_t kMaxNamesBytes = 100'000'000;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

fs::path FolderOf(const fs::path& path) { return IsFile(path) ? path.parent_path() : path; }

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// The only .safetensors file of a folder that has none with the usual names; else the folder.
fs::path WeightsOf(const fs::path& path) {
  if (IsFile(path) || IsFile(path / "model.safetensors") ||
      IsFile(path / "model.safetensors.index.json")) {
    return path;
  }
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".safetensors" && IsFile(entry.path())) {
      files.push_back(entry.path());
    }
  }
  return files.size() == 1 ? files[0] : path;
}

// The beginning of a .safetensors file that names its tensors, or the text of an index.
std::string NamesText(const fs::path& path) {
  const fs::path weights = WeightsOf(path);
  if (IsFile(weights / "model.safetensors.index.json") && !IsFile(weights / "model.safetensors")) {
    return ReadTextFile(weights / "model.safetensors.index.json", kMaxNamesBytes);
  }
  std::ifstream file(IsFile(weights) ? weights : weights / "model.safetensors", std::ios::binary);
  char length[sizeof(uint64_t)] = {};
  if (!file.read(length, sizeof length)) return "";
  const auto bytes = LoadLe<uint64_t>(length);
  file.seekg(0, std::ios::end);
  if (bytes > kMaxNamesBytes || bytes > static_cast<uint64_t>(file.tellg())) return "";
  std::string text(bytes, '\0');
  file.seekg(sizeof length);
  file.read(text.data(), static_cast<std::streamsize>(bytes));
  return text;
}

}  // namespace

PackedSettings::PackedSettings(const HfParts& parts, std::initializer_list<std::string_view> files)
    : json_(parts.config()), source_(parts.path() + ": config.json") {
  if (!json_.empty()) return;
  for (const std::string_view name : files) {
    const fs::path file = FolderOf(parts.path()) / name;
    if (!IsFile(file)) continue;
    source_ = file.string();
    json_ = ParseJson(ReadTextFile(file, kMaxSettingsBytes), source_);
    if (!json_.is_object()) FailFormat("{}: must hold an object", source_);
    return;
  }
}

const Json* PackedSettings::Find(std::initializer_list<std::string_view> keys) const {
  if (!json_.is_object()) return nullptr;
  for (const std::string_view key : keys) {
    const auto it = json_.find(key);
    if (it != json_.end() && !it->is_null()) return &*it;
  }
  return nullptr;
}

void PackedSettings::FailType(std::initializer_list<std::string_view> keys,
                              std::string_view expected) const {
  FailFormat("{}: '{}' must be {}", source_, *keys.begin(), expected);
}

std::optional<int64_t> PackedSettings::Integer(std::initializer_list<std::string_view> keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() &&
                      value->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits) FailType(keys, "an integer");
  return value->get<int64_t>();
}

std::optional<bool> PackedSettings::Flag(std::initializer_list<std::string_view> keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) FailType(keys, "true or false");
  return value->get<bool>();
}

std::optional<std::string> PackedSettings::Text(
    std::initializer_list<std::string_view> keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) FailType(keys, "a string");
  return Lower(value->get<std::string>());
}

std::string QuantMethodAt(const fs::path& path, std::string_view file,
                          std::string_view method) noexcept {
  try {
    const auto method_of = [](const Json& json, std::string_view otherwise) {
      const auto it = json.find("quant_method");
      return it != json.end() && it->is_string() ? Lower(it->get<std::string>())
                                                 : std::string(otherwise);
    };
    const Json config = QuantizationConfigAt(path);
    if (config.is_object()) return method_of(config, "");
    const fs::path beside = FolderOf(path) / file;
    if (!IsHfFolder(path) || !IsFile(beside)) return "";
    const Json json = ParseJson(ReadTextFile(beside, kMaxSettingsBytes), beside.string());
    return json.is_object() ? method_of(json, method) : "";
  } catch (...) {
    return "";
  }
}

bool TensorNamesHold(const fs::path& path, std::string_view text) noexcept {
  try {
    return IsHfFolder(path) && NamesText(path).find(text) != std::string::npos;
  } catch (...) {
    return false;
  }
}

HfFolder OpenPackedFolder(const fs::path& path) { return OpenHfFolder(WeightsOf(path)); }

bool NameHasNumber(std::string_view name) {
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos) {
      return true;
    }
    at = end + 1;
  }
  return false;
}

}  // namespace halftone
