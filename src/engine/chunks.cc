#include "engine/chunks.h"

#include <algorithm>

#include "base/error.h"

namespace halftone {

ChunkedText SplitText(const Tokenizer& tokenizer, std::string_view text, const std::string& source,
                      int64_t length, int64_t limit) {
  return SplitTokens(tokenizer, tokenizer.Encode(text, true), source, length, limit);
}

ChunkedText SplitTokens(const Tokenizer& tokenizer, std::vector<int32_t> tokens,
                        const std::string& source, int64_t length, int64_t limit) {
  if (length < 2) FailUsage("the context must be at least 2 tokens, not {}", length);
  ChunkedText chunks;
  chunks.length = length;
  chunks.tokens = std::move(tokens);
  const auto total = static_cast<int64_t>(chunks.tokens.size());
  if (total < 2 * length) {
    FailUsage("{}: {} tokens are too few, need at least two chunks of {}", source, total, length);
  }
  chunks.count = total / length;
  if (limit > 0) chunks.count = std::min(chunks.count, limit);
  chunks.tokens.resize(static_cast<size_t>(chunks.count * length));
  if (tokenizer.add_bos() && tokenizer.bos() >= 0) {
    for (int64_t i = 0; i < chunks.count; ++i) chunks.tokens[i * length] = tokenizer.bos();
  }
  return chunks;
}

}  // namespace halftone
