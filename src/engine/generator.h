// Generating text with a session.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/session.h"
#include "halftone/model.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

// Continues sequences. Keeps what the KV cache already holds: a prompt that begins like the last
// sequence is only read from where it differs, so a chat does not reread its history, and several
// continuations can be taken in turns.
class Generator {
 public:
  // Keys and values are kept on `cache_grid`. The tokenizer has at most as many tokens as the
  // embedding has rows.
  Generator(std::shared_ptr<const LoadedModel> model, const Tokenizer& tokenizer, int64_t context,
            const Grid& cache_grid = F32Grid());

  Generation Generate(std::span<const int32_t> prompt, int64_t max_tokens,
                      const SamplingOptions& sampling,
                      const std::function<bool(std::string_view)>& on_text);

  // The same, a token at a time; must not outlive the generator.
  std::unique_ptr<Continuation> Continue(std::span<const int32_t> prompt,
                                         const GenerateOptions& options);

 private:
  friend class SequenceContinuation;

  // Makes `tokens` what the cache holds, and logits_ what follows the last of them. `progress` is
  // asked whether to go on.
  void Read(std::span<const int32_t> tokens, Progress* progress);

  const Tokenizer& tokenizer_;
  Session session_;
  std::vector<int32_t> held_;  // the tokens in the cache
  std::vector<float> logits_;
  std::vector<int32_t> padding_;  // rows without a token, which are never chosen
};

// Holds bytes back until they end a UTF-8 sequence.
class Utf8Stream {
 public:
  // Returns what can be shown now. Bytes that can never become valid pass through as they are.
  std::string Push(std::string_view bytes);
  // What is left at the end, valid or not.
  std::string Finish();

 private:
  std::string pending_;
};

// Looks for texts that end a stream, and holds back what may become one of them.
class StopTexts {
 public:
  // Throws Error (kUsage) if one is empty.
  explicit StopTexts(std::vector<std::string> texts);

  // Returns what can be shown now: nothing more once one was found.
  std::string Push(std::string_view text);
  // What is left at the end.
  std::string Finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> texts_;
  std::string pending_;
  bool found_ = false;
};

}  // namespace halftone
