// Writing a model folder as Hugging Face's libraries do: <path>/model.safetensors and the small
// text files beside it. Weights of more than kShardBytes (or CheckpointPlan::split_bytes) go into
// several files, each as many tensors as fit, in their order: model-00001-of-00003.safetensors ...
// and model.safetensors.index.json, which says where each lies. What the tensors of a plan become
// in the file (themselves, or codes, scales and zeros apart) is for the containers that share this
// to say. Reading: hf_folder.h.
//
// The folder appears whole or not at all: everything goes to a temporary folder beside it, which
// Commit() renames. What lies at `path` before is never touched: only an empty folder may.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "container/container.h"
#include "container/safetensors_writer.h"

namespace halftone {

// The data of one file at most, unless the plan says otherwise: what transformers writes.
constexpr uint64_t kShardBytes = 5'000'000'000;

// What one tensor of a CheckpointPlan becomes.
struct HfTensor {
  std::vector<SafetensorsEntry> entries;

  // Lays the tensor's blocks out as the data of the entries: parts[i], zeros when called, has the
  // bytes of entries[i]. Null: the only entry holds the blocks as they are (and they are not
  // gathered first, so that memory stays bounded by a piece).
  using LayOut =
      std::function<void(std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts)>;
  LayOut lay_out = nullptr;
};

struct HfFolderPlan {
  std::vector<HfTensor> tensors;                 // one for each of the CheckpointPlan, in its order
  std::map<std::string, std::string> documents;  // text by file name
  std::string weights = "model";                 // what the files of the weights are called
};

// The dtype of a plain grid's numbers; null for other grids and for numbers that safetensors lacks.
const SafetensorsDtype* DtypeOf(const Grid& grid);

// A tensor of plain numbers, stored as it is. Throws Error (kUsage) for other grids and for columns
// in an order of their own.
HfTensor PlainHfTensor(const TensorPlan& tensor);

// The documents of a source for a checkpoint that is quantized as `config` says: config.json (made
// if there is none) gets it as "quantization_config", in the place of an older one. Null: plain
// weights, nothing says that they are quantized. Files that repeat an older configuration are left
// out. Throws Error (kFormat) for a config.json that is no object.
std::map<std::string, std::string> DocumentsWith(const std::map<std::string, std::string>& source,
                                                 const OrderedJson& config);

// The text of a JSON document as transformers writes it.
std::string DocumentText(const OrderedJson& json);

// The exact size of all .safetensors files.
uint64_t HfFolderBytes(const CheckpointPlan& plan, const HfFolderPlan& folder);

// Begins the folder for `plan`, which `folder` lays out. Throws Error (kUsage) where something lies
// at `path` or the plan cannot be written, kIo.
std::unique_ptr<CheckpointWriter> CreateHfFolder(const std::filesystem::path& path,
                                                 const CheckpointPlan& plan, HfFolderPlan folder);

}  // namespace halftone
