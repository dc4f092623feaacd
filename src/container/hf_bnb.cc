// Checkpoints quantized by bitsandbytes as transformers writes them: NF4 and FP4 with or without
// double quantization, LLM.int8(). docs/formats/bitsandbytes.md.

#include "container/container.h"
#include "container/hf_bnb_reader.h"
#include "container/hf_bnb_writer.h"

namespace halftone {
namespace {

bool IsTrue(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && it->is_boolean() && it->get<bool>();
}

// Older configurations do not name their method.
bool IsBnb(const Json& config) {
  if (!config.is_object()) return false;
  const auto method = config.find("quant_method");
  if (method != config.end()) return *method == "bitsandbytes";
  return IsTrue(config, "load_in_4bit") || IsTrue(config, "load_in_8bit");
}

bool Recognize(const std::filesystem::path& path) { return IsBnb(QuantizationConfigAt(path)); }

Checkpoint Open(const std::filesystem::path& path) {
  HfParts parts(OpenHfFolder(path));
  ReadBnbWeights(parts);
  return parts.Finish("bnb");
}

}  // namespace

extern const Container kContainer_hf_bnb;
constinit const Container kContainer_hf_bnb{
    .name = "bnb",
    .summary = "Hugging Face folder quantized by bitsandbytes: NF4, FP4, LLM.int8()",
    .dialect = Dialect::kHuggingFace,
    .recognize = &Recognize,
    .open = &Open,
    .can_store = &CanStoreBnb,
    .file_bytes = &BnbBytes,
    .create = &CreateBnb,
};

}  // namespace halftone
