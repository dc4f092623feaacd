#include "pipeline/text_input.h"

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "engine/session.h"
#include "pipeline/conversation.h"
#include "pipeline/json_lines.h"

namespace halftone {
namespace {

// The conversation through the template. What the template refuses belongs to a line of the file.
std::string Render(const Metadata& metadata, const Tokenizer& tokenizer, const JsonLine& example,
                   const std::string& model, const std::string& name, int64_t line) {
  try {
    return RenderConversation(metadata, tokenizer, example.messages, false, model);
  } catch (const Error& error) {
    Fail(error.kind(), "{}: line {}: {}", name, line, error.what());
  }
}

}  // namespace

TextInput ReadTextInput(const std::string& path) { return {ReadTextFile(path), path}; }

std::string PlainText(const TextInput& input) {
  if (!IsJsonLines(input)) return input.text;
  std::string text;
  ForEachJsonLine(input,
                  [&](const JsonLine& example, int64_t) { text += ContentsOf(example) + "\n"; });
  return text;
}

ChunkedText ReadChunks(const Checkpoint& model, const TextInput& input, int64_t length,
                       int64_t limit, Progress* progress) {
  const auto tokenizer = MakeTokenizer(model);
  if (!IsJsonLines(input)) {
    return SplitText(*tokenizer, input.text, input.name, length, limit);
  }
  const Metadata metadata = TokenizerMetadata(model);
  const bool has_template = metadata.String("tokenizer.chat_template") != nullptr;
  if (!has_template && progress) {
    progress->Note(input.name +
                   ": the model has no chat template; conversations are read as plain text");
  }
  std::vector<int32_t> tokens;
  // Less than two chunks are refused. The lines after are still read, so that broken ones are told.
  const auto enough = [&] {
    return limit > 0 && length > 0 && std::ssize(tokens) / length >= std::max<int64_t>(limit, 2);
  };
  ForEachJsonLine(input, [&](const JsonLine& example, int64_t line) {
    if (enough()) return;
    const bool conversation = has_template && !example.messages.empty();
    const std::string text =
        conversation ? Render(metadata, *tokenizer, example, model.path, input.name, line)
                     : ContentsOf(example);
    std::vector<int32_t> own = tokenizer->Encode(text, true);
    // Templates begin with the token that the tokenizer adds as well. Where it adds none, two of
    // them are what the template asks for.
    const bool twice =
        tokenizer->add_bos() && own.size() > 1 && own[0] == tokenizer->bos() && own[1] == own[0];
    tokens.insert(tokens.end(), own.begin() + (twice ? 1 : 0), own.end());
  });
  return SplitTokens(*tokenizer, std::move(tokens), input.name, length, limit);
}

}  // namespace halftone
