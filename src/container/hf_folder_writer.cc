#include "container/hf_folder_writer.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/printable.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::string_view kConfig = "config.json";

// Keys of config.json and whole files that say how a checkpoint is quantized.
constexpr std::string_view kQuantizationKeys[] = {"quantization_config", "compression_config"};
constexpr std::string_view kQuantizationFiles[] = {"quantize_config.json", "quant_config.json"};

// transformers refused files without it for years.
const std::map<std::string, std::string>& FileMetadata() {
  static const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  return metadata;
}

// The entries of each file, in the order of the tensors.
std::vector<std::vector<SafetensorsEntry>> Shards(const CheckpointPlan& plan,
                                                  const HfFolderPlan& folder) {
  const uint64_t most = plan.split_bytes > 0 ? plan.split_bytes : kShardBytes;
  std::vector<std::vector<SafetensorsEntry>> shards(1);
  std::set<std::string_view> names;
  uint64_t bytes = 0;
  for (const HfTensor& tensor : folder.tensors) {
    for (const SafetensorsEntry& entry : tensor.entries) {
      if (!names.insert(entry.name).second) {
        FailUsage("tensor '{}' is planned twice", Printable(entry.name));
      }
      if (bytes + entry.bytes() > most && !shards.back().empty()) {
        shards.emplace_back();
        bytes = 0;
      }
      shards.back().push_back(entry);
      bytes += entry.bytes();
    }
  }
  return shards;
}

std::string ShardName(const std::string& weights, size_t no, size_t count) {
  if (count == 1) return weights + ".safetensors";
  return fmt::format("{}-{:05}-of-{:05}.safetensors", weights, no + 1, count);
}

// What lies where, as transformers writes it: names sorted, the sum of all data.
std::string IndexText(const std::string& weights,
                      const std::vector<std::vector<SafetensorsEntry>>& shards) {
  uint64_t total = 0;
  Json map = Json::object();
  for (size_t no = 0; no < shards.size(); ++no) {
    for (const SafetensorsEntry& entry : shards[no]) {
      total += entry.bytes();
      map[entry.name] = ShardName(weights, no, shards.size());
    }
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  return index.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// `path` without a slash at the end.
fs::path FolderPath(const fs::path& path) {
  fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

void RefuseWhatIsThere(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) {
    FailUsage("{}: is a file where a folder is to be written", path.string());
  }
  if (!fs::is_empty(path, error) || error) {
    FailUsage("{}: the folder exists and is not empty; remove it or choose another name",
              path.string());
  }
}

// A folder that disappears unless it gets its name.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(fs::path target) : target_(std::move(target)) {
    RefuseWhatIsThere(target_);
    std::string name = target_.string() + ".part-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      FailIo("{}: cannot create: {}", target_.string(), std::strerror(errno));
    }
    path_ = name;
    // mkdtemp makes folders private; give the result the mode that an ordinary one would have.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::chmod(path_.c_str(), 0777 & ~mask);
  }
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& target() const { return target_; }
  const fs::path& path() const { return path_; }

  void Commit() {
    std::error_code error;
    fs::rename(path_, target_, error);
    if (error) {
      RefuseWhatIsThere(target_);
      FailIo("{}: cannot finish: {}", target_.string(), error.message());
    }
    path_.clear();
  }

 private:
  fs::path target_;
  fs::path path_;
};

void CheckDocuments(const std::map<std::string, std::string>& documents) {
  for (const auto& [name, text] : documents) {
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == ".." ||
        name.ends_with(kIndexEnding) || name.ends_with(".safetensors")) {
      FailUsage("'{}' is no name for a file beside the weights", Printable(name));
    }
  }
}

class HfFolderWriter : public CheckpointWriter {
 public:
  HfFolderWriter(const fs::path& path, const CheckpointPlan& plan, HfFolderPlan plan_of_folder)
      : plan_(std::move(plan_of_folder)), folder_(FolderPath(path)) {
    const auto shards = Shards(plan, plan_);
    for (size_t no = 0; no < shards.size(); ++no) {
      const std::string name = ShardName(plan_.weights, no, shards.size());
      files_.push_back(std::make_unique<SafetensorsWriter>(
          folder_.path() / name, (folder_.target() / name).string(), shards[no], FileMetadata()));
      for (size_t i = 0; i < shards[no].size(); ++i) places_.push_back({no, i});
    }
    if (shards.size() > 1) {
      WriteFile(folder_.path() / (plan_.weights + std::string(kIndexEnding)),
                IndexText(plan_.weights, shards));
    }
    for (const TensorPlan& tensor : plan.tensors) {
      names_.push_back(tensor.name);
      sizes_.push_back(tensor.bytes());
    }
    for (const auto& [name, text] : plan_.documents) WriteFile(folder_.path() / name, text);
    FinishTensors();
  }

  void Append(std::span<const uint8_t> bytes) override {
    if (bytes.empty()) return;
    const std::string path = folder_.target().string();
    if (current_ == sizes_.size()) {
      FailUsage("{}: {} bytes after the last of {} tensors", path, bytes.size(), sizes_.size());
    }
    const uint64_t left = sizes_[current_] - written_;
    if (bytes.size() > left) {
      FailUsage("{}: tensor '{}': {} bytes are more than the {} that are left of {}", path,
                Printable(names_[current_]), bytes.size(), left, sizes_[current_]);
    }
    const HfTensor& tensor = plan_.tensors[current_];
    written_ += bytes.size();
    if (!tensor.lay_out) {
      Write(entry_, bytes);
    } else if (bytes.size() == sizes_[current_]) {
      Lay(tensor, bytes);
    } else {
      blocks_.insert(blocks_.end(), bytes.begin(), bytes.end());
      if (written_ == sizes_[current_]) Lay(tensor, blocks_);
    }
    FinishTensors();
  }

  void Commit() override {
    if (current_ != sizes_.size()) {
      FailUsage("{}: tensor '{}': only {} of its {} bytes were written", folder_.target().string(),
                Printable(names_[current_]), written_, sizes_[current_]);
    }
    for (const auto& file : files_) file->Finish();
    folder_.Commit();
  }

 private:
  // Where an entry lies: the file, and which of its entries.
  struct Place {
    size_t file = 0, entry = 0;
  };

  void Write(size_t entry, std::span<const uint8_t> bytes) {
    files_[places_[entry].file]->Write(places_[entry].entry, bytes);
  }

  void Lay(const HfTensor& tensor, std::span<const uint8_t> blocks) {
    std::vector<std::vector<uint8_t>> parts;
    for (const SafetensorsEntry& entry : tensor.entries) parts.emplace_back(entry.bytes());
    tensor.lay_out(blocks, parts);
    for (size_t i = 0; i < parts.size(); ++i) Write(entry_ + i, parts[i]);
  }

  // Goes on to the next tensor if the current one is complete. Those without weights may still have
  // parts (an empty layer's configuration).
  void FinishTensors() {
    while (current_ < sizes_.size() && written_ == sizes_[current_]) {
      const HfTensor& tensor = plan_.tensors[current_];
      if (sizes_[current_] == 0 && tensor.lay_out) Lay(tensor, {});
      entry_ += tensor.entries.size();
      ++current_;
      written_ = 0;
      blocks_ = {};
    }
  }

  HfFolderPlan plan_;
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<SafetensorsWriter>> files_;
  std::vector<Place> places_;  // of each entry
  std::vector<std::string> names_;
  std::vector<uint64_t> sizes_;  // bytes of each tensor's blocks
  size_t current_ = 0;           // the tensor being written
  size_t entry_ = 0;             // its first entry
  uint64_t written_ = 0;         // bytes of its blocks
  std::vector<uint8_t> blocks_;  // of a tensor that comes in pieces and is laid out as a whole
};

}  // namespace

const SafetensorsDtype* DtypeOf(const Grid& grid) {
  if (grid.gguf_type < 0) return nullptr;
  const auto all = AllSafetensorsDtypes();
  const auto it = std::ranges::find(all, grid.gguf_type, &SafetensorsDtype::gguf_type);
  return it == all.end() ? nullptr : &*it;
}

HfTensor PlainHfTensor(const TensorPlan& tensor) {
  const SafetensorsDtype* dtype = DtypeOf(*tensor.grid);
  if (dtype == nullptr) {
    FailUsage("tensor '{}': {} has no dtype in safetensors", Printable(tensor.name),
              tensor.grid->title);
  }
  if (tensor.order != nullptr) {
    FailUsage("tensor '{}': plain weights have their columns in order", Printable(tensor.name));
  }
  return {.entries = {{tensor.name, dtype, tensor.shape}}};
}

std::map<std::string, std::string> DocumentsWith(const std::map<std::string, std::string>& source,
                                                 const OrderedJson& config) {
  std::map<std::string, std::string> documents = source;
  for (const std::string_view name : kQuantizationFiles) documents.erase(std::string(name));
  const std::string name(kConfig);
  const auto old = documents.find(name);
  if (old == documents.end() && config.is_null()) return documents;
  OrderedJson json = OrderedJson::object();
  if (old != documents.end()) {
    ParseJson(old->second, name);  // for its errors
    json = OrderedJson::parse(old->second);
    if (!json.is_object()) FailFormat("{}: must hold an object", name);
  }
  bool changed = !config.is_null();
  for (const std::string_view key : kQuantizationKeys) changed |= json.erase(std::string(key)) > 0;
  if (!config.is_null()) json["quantization_config"] = config;
  // An unchanged document stays as it is, to the byte.
  if (changed) documents[name] = DocumentText(json);
  return documents;
}

std::string DocumentText(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

uint64_t HfFolderBytes(const CheckpointPlan& plan, const HfFolderPlan& folder) {
  uint64_t bytes = 0;
  for (const auto& shard : Shards(plan, folder)) {
    bytes += LayOutSafetensors(shard, FileMetadata()).file_bytes;
  }
  return bytes;
}

std::unique_ptr<CheckpointWriter> CreateHfFolder(const fs::path& path, const CheckpointPlan& plan,
                                                 HfFolderPlan folder) {
  CheckDocuments(folder.documents);
  if (folder.tensors.size() != plan.tensors.size()) {
    FailUsage("{}: {} tensors are laid out, {} are planned", path.string(), folder.tensors.size(),
              plan.tensors.size());
  }
  return std::make_unique<HfFolderWriter>(path, plan, std::move(folder));
}

}  // namespace halftone
