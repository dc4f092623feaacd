// Running a model: open it from any container, tokenize, generate.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "halftone/activations.h"
#include "halftone/precision.h"

namespace halftone {

struct LoadOptions {
  int threads = 0;              // 0: one for each processor
  int64_t context = 0;          // tokens the KV cache holds; 0: the model's own limit, at most 4096
  Precision precision;          // weights rounded while loading
  std::string adapter;          // a LoRA adapter, a peft folder or a .gguf, or empty
  std::string kv_grid = "f16";  // what keys and values are rounded to: one of KvGrids()
  Activations activations = Activations::kInt8;
};

struct SamplingOptions {
  float temperature = 0.8f;  // 0: always the likeliest token
  int top_k = 40;            // 0: off
  float top_p = 0.95f;       // 1: off
  float min_p = 0.05f;       // 0: off
  uint64_t seed = 0;
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct Generation {
  std::string text;
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;
  double prompt_seconds = 0;
  double seconds = 0;
  // "end" (the model ended its turn), "length" (max_tokens or the context is full) or "stopped"
  // (the callback returned false).
  std::string stop;
};

class Model {
 public:
  // Maps the file and prepares it for running. Throws Error.
  static std::unique_ptr<Model> Open(const std::string& path, const LoadOptions& options = {});
  virtual ~Model() = default;

  virtual std::string architecture() const = 0;
  virtual int64_t vocabulary() const = 0;
  virtual int64_t context() const = 0;
  virtual uint64_t weight_bytes() const = 0;  // bytes of all tensors as they are kept

  // Text to token ids. With `special`, the texts of control tokens in `text` become those tokens,
  // and the beginning-of-text token is added where the model's tokenizer says so.
  virtual std::vector<int32_t> Tokenize(std::string_view text, bool special = true) const = 0;
  // Token ids to text; control tokens give their names only with `special`. May end within a UTF-8
  // sequence.
  virtual std::string Detokenize(const std::vector<int32_t>& tokens,
                                 bool special = false) const = 0;

  // The conversation in the model's own chat template, with the assistant's turn opened. Throws
  // Error (kUnsupported) if the model has no template.
  virtual std::string ApplyChatTemplate(const std::vector<ChatMessage>& messages) const = 0;

  // Continues `prompt` by up to max_tokens tokens and hands out text as it arrives, in whole UTF-8
  // sequences; on_text returns false to stop. Reuses what the cache already holds of the prompt.
  // Deterministic for a seed. Throws Error (kUsage) if the prompt does not fit the context.
  virtual Generation Generate(const std::vector<int32_t>& prompt, int64_t max_tokens,
                              const SamplingOptions& sampling,
                              const std::function<bool(std::string_view)>& on_text) = 0;

  // The logits after each token, f32 [tokens, vocabulary], from an empty cache on the same grid.
  virtual std::vector<float> Logits(const std::vector<int32_t>& tokens) = 0;
};

// Tokenizes with the tokenizer of the model at `path`, without loading weights.
std::vector<int32_t> Tokenize(const std::string& path, std::string_view text, bool special = true);

}  // namespace halftone
