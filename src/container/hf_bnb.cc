// Checkpoints quantized by bitsandbytes as transformers writes them: NF4 and FP4 with or without
// double quantization, LLM.int8(). docs/formats/bitsandbytes.md.

#include <optional>

#include "base/error.h"
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

// What LLM.int8() takes for a large activation; none where weights have 4 bits. Transformers' own
// default where the settings do not say.
std::optional<float> ThresholdOf(const HfParts& parts) {
  const Json config = parts.config();
  if (!IsTrue(config, "load_in_8bit")) return std::nullopt;
  const auto it = config.find("llm_int8_threshold");
  if (it == config.end() || it->is_null()) return 6.0f;
  if (!it->is_number() || !(it->get<float>() >= 0)) {
    FailFormat("{}: 'llm_int8_threshold' must be a number of at least 0", parts.path());
  }
  return it->get<float>();
}

Checkpoint Open(const std::filesystem::path& path) {
  HfParts parts(OpenHfFolder(path));
  ReadBnbWeights(parts);
  const std::optional<float> threshold = ThresholdOf(parts);
  Checkpoint checkpoint = parts.Finish("bnb");
  checkpoint.int8_threshold = threshold;
  return checkpoint;
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
