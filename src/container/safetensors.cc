// Plain weights in safetensors files, named and shaped as Hugging Face's libraries do:
// docs/formats/safetensors.md.

#include "base/error.h"
#include "base/printable.h"
#include "container/container.h"
#include "container/hf_folder.h"
#include "container/hf_folder_writer.h"
#include "container/hf_parts.h"

namespace halftone {
namespace {

// Whoever quantized the weights; every method that is read has a container before this one.
std::string MethodOf(const std::filesystem::path& path) {
  const Json config = QuantizationConfigAt(path);
  if (!config.is_object()) return "";
  const auto method = config.find("quant_method");
  return method != config.end() && method->is_string() ? method->get<std::string>() : "";
}

std::string QuantizedBy(const std::string& method) {
  if (method.empty()) return "";
  return fmt::format("; config.json says that '{}' quantized it, which is not read",
                     Printable(method));
}

Checkpoint Open(const std::filesystem::path& path) {
  HfFolder folder = OpenHfFolder(path);
  Checkpoint checkpoint;
  checkpoint.path = path.string();
  checkpoint.container = "safetensors";
  checkpoint.dialect = Dialect::kHuggingFace;
  checkpoint.file_bytes = folder.file_bytes;
  checkpoint.documents = std::move(folder.documents);
  checkpoint.mapped = std::move(folder.mapped);
  checkpoint.unread_quantization = MethodOf(path);
  checkpoint.tensors.reserve(folder.tensors.size());
  for (SafetensorsTensor& source : folder.tensors) {
    Tensor tensor;
    tensor.grid = source.grid();
    if (tensor.grid == nullptr) {
      FailUnsupported("{}: tensor '{}': dtype {} is not supported in a model of plain weights{}",
                      path.string(), Printable(source.name), source.dtype->name,
                      QuantizedBy(checkpoint.unread_quantization));
    }
    tensor.name = std::move(source.name);
    tensor.shape = std::move(source.shape);
    tensor.data = source.data;
    tensor.owner = std::move(source.owner);
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return checkpoint;
}

bool CanStore(const Grid& grid) { return DtypeOf(grid) != nullptr; }

HfFolderPlan LayOut(const CheckpointPlan& plan) {
  HfFolderPlan folder;
  for (const TensorPlan& tensor : plan.tensors) folder.tensors.push_back(PlainHfTensor(tensor));
  folder.documents = DocumentsWith(plan.documents, nullptr);
  return folder;
}

uint64_t FileBytes(const CheckpointPlan& plan) { return HfFolderBytes(plan, LayOut(plan)); }

std::unique_ptr<CheckpointWriter> Create(const std::filesystem::path& path,
                                         const CheckpointPlan& plan) {
  return CreateHfFolder(path, plan, LayOut(plan));
}

}  // namespace

extern const Container kContainer_safetensors;
constinit const Container kContainer_safetensors{
    .name = "safetensors",
    .summary = "Hugging Face folder of plain weights in safetensors files",
    .dialect = Dialect::kHuggingFace,
    .recognize = &IsHfFolder,
    .open = &Open,
    .can_store = &CanStore,
    .file_bytes = &FileBytes,
    .create = &Create,
};

}  // namespace halftone
