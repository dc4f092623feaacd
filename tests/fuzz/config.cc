// config.json of a folder: what it says of the model, and how it says that the weights are
// quantized. The folder holds one plain and one packed layer, so that each container finds
// something to put together.

#include "container/container.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "tests/fuzz/targets.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

// 8 columns of 8 rows in GPTQ's, AWQ's and compressed-tensors' names, and a plain matrix.
std::string Weights() {
  struct Part {
    const char* name;
    const char* dtype;
    const char* shape;
    int bytes;
  };
  constexpr Part kParts[] = {{"a.weight", "F32", "[2,2]", 16},
                             {"m.0.g_idx", "I32", "[8]", 32},
                             {"m.0.qweight", "I32", "[1,8]", 32},
                             {"m.0.qzeros", "I32", "[1,1]", 4},
                             {"m.0.scales", "F16", "[1,8]", 16},
                             {"m.1.weight_packed", "I32", "[8,1]", 32},
                             {"m.1.weight_scale", "F16", "[8,1]", 16},
                             {"m.1.weight_shape", "I64", "[2]", 16},
                             {"m.2.SCB", "F32", "[2]", 8},
                             {"m.2.weight", "I8", "[2,4]", 8}};
  std::string header;
  int at = 0;
  for (const Part& part : kParts) {
    header += std::string(header.empty() ? "{\"" : ",\"") + part.name + R"(":{"dtype":")" +
              part.dtype + R"(","shape":)" + part.shape + R"(,"data_offsets":[)" +
              std::to_string(at) + "," + std::to_string(at + part.bytes) + "]}";
    at += part.bytes;
  }
  return SafetensorsBytes(header + "}", std::string(static_cast<size_t>(at), '\x01'));
}

}  // namespace

void Fuzz_config(std::string_view bytes) {
  static const TempFolder folder(FolderInMemory());
  [[maybe_unused]] static const bool once = [] {
    folder.Write("model.safetensors", Weights());
    return true;
  }();
  folder.Write("config.json", bytes);
  MayRefuse([&] {
    const Checkpoint checkpoint = OpenCheckpoint(folder.path());
    for (const Tensor& tensor : checkpoint.tensors) Loaded(tensor);
  });
  MayRefuse([&] {
    Checkpoint checkpoint;
    checkpoint.path = "folder";
    checkpoint.dialect = Dialect::kHuggingFace;
    checkpoint.documents["config.json"] = bytes;
    ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint));
  });
}

}  // namespace halftone
