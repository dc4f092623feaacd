// Text cut into chunks of equal length, as calibration and evaluation read it.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace halftone {

struct ChunkedText {
  int64_t length = 0;  // tokens in a chunk
  int64_t count = 0;   // chunks
  std::vector<int32_t> tokens;

  // Where the tokenizer adds a beginning-of-text token, each chunk's first token is replaced by it,
  // as llama-perplexity and llama-imatrix do.
  std::span<const int32_t> chunk(int64_t i) const {
    return std::span(tokens).subspan(i * length, length);
  }
};

// Cuts tokens into chunks as below.
ChunkedText SplitTokens(const Tokenizer& tokenizer, std::vector<int32_t> tokens,
                        const std::string& source, int64_t length, int64_t limit);

// Tokenizes the whole text and cuts it into chunks of `length`; at most `limit` of them if not 0.
// `source` names the text. Throws Error (kUsage) if the text holds less than two chunks or the
// length is below 2.
ChunkedText SplitText(const Tokenizer& tokenizer, std::string_view text, const std::string& source,
                      int64_t length, int64_t limit);

}  // namespace halftone
