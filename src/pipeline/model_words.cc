#include "pipeline/model_words.h"

#include "base/error.h"
#include "engine/session.h"
#include "pipeline/conversation.h"

namespace halftone {

ModelWords::ModelWords(const Checkpoint& model, const TextInput& input, Progress* progress)
    : model_(model.path),
      input_(input.name),
      tokenizer_(MakeTokenizer(model)),
      metadata_(TokenizerMetadata(model)) {
  if (IsJsonLines(input) && !has_template() && progress != nullptr) {
    progress->Note(input_ +
                   ": the model has no chat template; conversations are read as plain text");
  }
}

std::vector<int32_t> ModelWords::Encode(std::string_view text) const {
  std::vector<int32_t> tokens = tokenizer_->Encode(text, true);
  if (tokenizer_->add_bos() && tokens.size() > 1 && tokens[0] == tokenizer_->bos() &&
      tokens[1] == tokens[0]) {
    tokens.erase(tokens.begin());
  }
  return tokens;
}

std::string ModelWords::Render(const OrderedJson& messages, bool open_answer, int64_t line) const {
  try {
    return RenderConversation(metadata_, *tokenizer_, messages, open_answer, model_);
  } catch (const Error& error) {
    Fail(error.kind(), "{}: line {}: {}", input_, line, error.what());
  }
}

}  // namespace halftone
