// Checkpoints of compressed-tensors, the format of llm-compressor and vLLM: packed integers, bytes,
// 8-bit floats, NVFP4, MXFP4. docs/formats/compressed-tensors.md.

#include "container/container.h"
#include "container/hf_compressed_tensors_reader.h"
#include "container/hf_compressed_tensors_writer.h"

namespace halftone {
namespace {

bool Recognize(const std::filesystem::path& path) {
  const Json config = QuantizationConfigAt(path);
  if (!config.is_object()) return false;
  const auto method = config.find("quant_method");
  return method != config.end() && *method == "compressed-tensors";
}

Checkpoint Open(const std::filesystem::path& path) {
  HfParts parts(OpenHfFolder(path));
  ReadCtWeights(parts);
  return parts.Finish("compressed-tensors");
}

}  // namespace

extern const Container kContainer_hf_compressed_tensors;
constinit const Container kContainer_hf_compressed_tensors{
    .name = "compressed-tensors",
    .summary = "Hugging Face folder of compressed-tensors (llm-compressor, vLLM)",
    .dialect = Dialect::kHuggingFace,
    .recognize = &Recognize,
    .open = &Open,
    .can_store = &CanStoreCt,
    .file_bytes = &CtBytes,
    .create = &CreateCt,
};

}  // namespace halftone
