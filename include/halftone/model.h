// Running a model: open it from any container, tokenize, generate.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halftone/activations.h"
#include "halftone/precision.h"
#include "halftone/progress.h"
#include "halftone/tokenizer.h"

namespace halftone {

struct LoadOptions {
  int threads = 0;              // 0: one for each processor
  int64_t context = 0;          // tokens the KV cache holds; 0: the model's own limit, at most 4096
  Precision precision;          // weights rounded while loading
  std::string adapter;          // a LoRA adapter, a peft folder or a .gguf, or empty
  std::string kv_grid = "f16";  // what keys and values are rounded to: one of KvGrids()
  Activations activations = Activations::kInt8;
  Progress* progress = nullptr;  // asked whether to go on while weights are rounded
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

struct GenerateOptions {
  int64_t max_tokens = 256;
  SamplingOptions sampling;
  // Texts that end the continuation before them, wherever they come to stand; none may be empty.
  std::vector<std::string> stop_texts;
  // Asked whether to go on, several times a token; must outlive the continuation.
  Progress* progress = nullptr;
};

struct Generation {
  std::string text;
  // The generated tokens, and after them the one that ended the turn, where one did.
  std::vector<int32_t> ids;
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;  // generated
  double prompt_seconds = 0;
  double seconds = 0;
  // "end" (the model ended its turn), "length" (max_tokens or the context is full), "text" (one of
  // stop_texts came) or "stopped" (the callback returned false). Empty: it goes on.
  std::string stop;
};

// A continuation that is made as it is asked for. Several of one model may be taken in turns: each
// reads again what another one has displaced. Ends with its model.
class Continuation {
 public:
  virtual ~Continuation() = default;

  // Goes on by one token and returns the text that this completes, in whole UTF-8 sequences, maybe
  // none; after the end std::nullopt. Throws Error (kCancelled).
  virtual std::optional<std::string> Next() = 0;
  // What was made so far.
  virtual const Generation& made() const = 0;
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

  // Lives as long as the model. Throws Error (kUnsupported) if the model has none: it then runs on
  // token ids alone, and what it generates has no text.
  virtual const ModelTokenizer& tokenizer() const = 0;

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

  // The same, taken token by token. Throws Error (kUsage) for a prompt that is empty or does not
  // fit and for options out of range.
  virtual std::unique_ptr<Continuation> Continue(const std::vector<int32_t>& prompt,
                                                 const GenerateOptions& options) = 0;

  // The logits after each token, f32 [tokens, vocabulary], from an empty cache on the same grid.
  // `progress` is asked whether to go on.
  virtual std::vector<float> Logits(const std::vector<int32_t>& tokens,
                                    Progress* progress = nullptr) = 0;
};

// Tokenizes with the tokenizer of the model at `path`, without loading weights.
std::vector<int32_t> Tokenize(const std::string& path, std::string_view text, bool special = true);

}  // namespace halftone
