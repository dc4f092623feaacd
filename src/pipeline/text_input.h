// What calibration and evaluation read: plain text, or conversations.
//
// JSON lines are recognized by a name that ends in .jsonl or a first line that is a JSON object.
// Each line is one of
//
//   {"messages": [{"role": "user", "content": "..."}, ...]}             OpenAI's form
//   {"conversations": [{"from": "human", "value": "..."}, ...]}         ShareGPT's
//   {"prompt": "...", "completion": "..."}
//   {"text": "..."}                                                     taken as it is
//
// Conversations go through the model's chat template, control tokens included, or where it has none
// are their contents one after another. All are joined and cut into chunks.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/chunks.h"
#include "halftone/progress.h"
#include "tensor/checkpoint.h"

namespace halftone {

struct TextInput {
  std::string text;
  std::string name;  // of the file, for messages
};

bool IsJsonLines(const TextInput& input);

// Throws Error (kIo).
TextInput ReadTextInput(const std::string& path);

// The text for calibration that comes with the library.
TextInput BundledText();

// Chunks of `length` tokens, at most `limit` of them if not 0; no more conversations are rendered
// than these take. A beginning-of-text token that both template and tokenizer add is kept once.
// Throws Error: kFormat naming file and line for a line that is none of the above, kUsage for too
// little text.
ChunkedText ReadChunks(const Checkpoint& model, const TextInput& input, int64_t length,
                       int64_t limit, Progress* progress);

// What is said, without the JSON: for comparing texts. Throws as ReadChunks does.
std::string PlainText(const TextInput& input);

}  // namespace halftone
