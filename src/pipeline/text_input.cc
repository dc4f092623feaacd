#include "pipeline/text_input.h"

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "pipeline/assets.h"
#include "pipeline/json_lines.h"
#include "pipeline/model_words.h"

namespace halftone {
TextInput ReadTextInput(const std::string& path) { return {ReadTextFile(path), path}; }

TextInput BundledText() {
  return {std::string(Asset("calibration.txt")), "the bundled calibration text"};
}

std::string PlainText(const TextInput& input) {
  if (!IsJsonLines(input)) return input.text;
  std::string text;
  ForEachJsonLine(input,
                  [&](const JsonLine& example, int64_t) { text += ContentsOf(example) + "\n"; });
  return text;
}

ChunkedText ReadChunks(const Checkpoint& model, const TextInput& input, int64_t length,
                       int64_t limit, Progress* progress) {
  const ModelWords words(model, input, progress);
  if (!IsJsonLines(input)) {
    return SplitText(words.tokenizer(), input.text, input.name, length, limit);
  }
  std::vector<int32_t> tokens;
  // Less than two chunks are refused. The lines after are still read, so that broken ones are told.
  const auto enough = [&] {
    return limit > 0 && length > 0 && std::ssize(tokens) / length >= std::max<int64_t>(limit, 2);
  };
  ForEachJsonLine(input, [&](const JsonLine& example, int64_t line) {
    if (enough()) return;
    const bool conversation = words.has_template() && !example.messages.empty();
    const std::vector<int32_t> own = words.Encode(
        conversation ? words.Render(example.messages, false, line) : ContentsOf(example));
    tokens.insert(tokens.end(), own.begin(), own.end());
  });
  return SplitTokens(words.tokenizer(), std::move(tokens), input.name, length, limit);
}

}  // namespace halftone
