// A checkpoint: everything that a model file or folder holds, before anyone knows what model it is.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/metadata.h"
#include "tensor/tensor.h"

namespace halftone {

// Whose names and conventions tensors and settings follow.
enum class Dialect {
  kGguf,         // "blk.0.attn_q.weight", settings in metadata, q and k rows permuted for llama
  kHuggingFace,  // "model.layers.0.self_attn.q_proj.weight", settings in config.json
};

struct Checkpoint {
  std::string path;       // the file or folder that was opened
  std::string container;  // the container's name, "gguf"
  Dialect dialect = Dialect::kGguf;
  uint64_t file_bytes = 0;  // of all files that hold tensors, headers included
  Metadata metadata;        // GGUF key-values; empty for Hugging Face folders
  std::vector<Tensor> tensors;
  // The text of the small files beside the weights, by file name: "config.json",
  // "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja".
  std::map<std::string, std::string> documents;
  // The method that config.json says quantized the weights, where no container reads it: tensors are
  // then listed as they lie in the file, and what they mean is not known.
  std::string unread_quantization;
  // Set where the linear layers whose rows have one scale and 8-bit codes are to be multiplied as
  // LLM.int8() does (Ops::PrepareInt8), with this threshold.
  std::optional<float> int8_threshold;
  // The files that the tensors' data lie in.
  std::vector<std::shared_ptr<const MappedFile>> mapped;

  // Null where there is none.
  const Tensor* Find(std::string_view name) const;
  // Throws Error (kFormat) "<path>: tensor '<name>' is missing".
  const Tensor& Get(std::string_view name) const;

  // Gives back the memory that reading the mapped files has taken (base/mapped_file.h). Those of a
  // small model stay.
  void GiveBackPages() const;
};

}  // namespace halftone
