#include "pipeline/hf_documents.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grid/grouped.h"
#include "model/hf_config.h"
#include "model/hf_hyperparameters.h"
#include "tokenizer/hf_tokenizer_writer.h"

namespace halftone {
namespace {

// As torch calls the numbers that a tensor decodes to; empty where they are no floats.
std::string DtypeOf(const Grid& grid) {
  if (grid.grouped != nullptr) {
    // Where products are f32 (bitsandbytes' int8), the model still computes in halves.
    return grid.grouped->value == Real::kBf16 ? "bfloat16" : "float16";
  }
  if (!grid.plain) return "bfloat16";  // microscaling, whose scales are powers of two
  if (!grid.writable()) return "";
  return grid.bits_per_weight() > 16 ? "float32" : grid.name == "bf16" ? "bfloat16" : "float16";
}

// The dtype of most weights; of quantized ones alone, where there are any.
std::string CommonDtype(std::span<const TensorPlan> tensors) {
  std::map<std::string, uint64_t> plain, quantized;
  for (const TensorPlan& t : tensors) {
    const std::string dtype = DtypeOf(*t.grid);
    if (!dtype.empty()) (t.grid->plain ? plain : quantized)[dtype] += t.bytes();
  }
  const auto& weights = quantized.empty() ? plain : quantized;
  if (weights.empty()) return "float32";
  return std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; })->first;
}

bool HasBias(const Source& source, Role role) {
  return std::ranges::any_of(source.tensors, [&](const GgufTensor& t) {
    const auto place = PlaceOf(*source.architecture, Dialect::kGguf, t.tensor.name);
    return place && place->bias && place->role->role == role;
  });
}

std::optional<int64_t> IdAt(const Metadata& metadata, const char* key) {
  return metadata.Int(std::string("tokenizer.ggml.") + key + "_token_id");
}

HfModelFacts FactsOf(const Source& source, std::span<const TensorPlan> tensors) {
  HfModelFacts facts;
  facts.tied = source.shape.tied;
  facts.attention_bias = HasBias(source, Role::kQuery) || HasBias(source, Role::kQueryKeyValue);
  facts.mlp_bias = HasBias(source, Role::kUp) || HasBias(source, Role::kGateUp);
  facts.dtype = CommonDtype(tensors);
  facts.bos = IdAt(source.metadata, "bos");
  facts.pad = IdAt(source.metadata, "padding");
  for (const char* end : {"eos", "eot", "eom"}) {
    const auto id = IdAt(source.metadata, end);
    if (id && std::ranges::find(facts.eos, *id) == facts.eos.end()) facts.eos.push_back(*id);
  }
  return facts;
}

}  // namespace

std::map<std::string, std::string> DocumentsFor(const Source& source, const Container& container,
                                                std::span<const TensorPlan> tensors) {
  if (container.dialect == Dialect::kGguf) return {};
  const std::string& path = source.checkpoint.path;
  if (source.checkpoint.dialect != Dialect::kGguf) {
    const auto& documents = source.checkpoint.documents;
    const Json config = ParseJson(documents.at("config.json"), path + "/config.json");
    if (&TextConfig(config) != &config) {
      FailUnsupported("{}: a model of text and more can only go to GGUF, its text model alone",
                      path);
    }
    return documents;
  }
  if (source.architecture == nullptr) {
    FailUnsupported("{}: architecture '{}' has no config.json here", path,
                    source.shape.architecture);
  }
  const Hyperparameters parameters = ReadHyperparameters(source.checkpoint, *source.architecture);
  const HfModelFacts facts = FactsOf(source, tensors);
  auto documents = HfTokenizerDocuments(source.metadata, parameters.context, path);
  documents["config.json"] = HfConfig(*source.architecture, parameters, facts, path);
  documents["generation_config.json"] = HfGenerationConfig(facts);
  return documents;
}

}  // namespace halftone
