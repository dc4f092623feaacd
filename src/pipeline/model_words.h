// Texts and conversations of a file as tokens of a model.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "halftone/progress.h"
#include "pipeline/json_lines.h"
#include "tensor/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

class ModelWords {
 public:
  // `input` is named in errors. Where it holds conversations and the model has no chat template for
  // them, `progress` (or null) gets a note that they are read as plain text.
  ModelWords(const Checkpoint& model, const TextInput& input, Progress* progress);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  bool has_template() const { return metadata_.String("tokenizer.chat_template") != nullptr; }

  // A beginning-of-text token that both the text and the tokenizer add is kept once. Where the
  // tokenizer adds none, two of them are what a template asks for.
  std::vector<int32_t> Encode(std::string_view text) const;

  // The messages through the model's template; with `open_answer` up to where the assistant begins
  // to speak. Throws Error naming file and line for what the template refuses.
  std::string Render(const OrderedJson& messages, bool open_answer, int64_t line) const;

 private:
  std::string model_, input_;  // their names
  std::unique_ptr<Tokenizer> tokenizer_;
  Metadata metadata_;
};

}  // namespace halftone
