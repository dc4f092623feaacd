// Several sequences of one model that take a step together.
//
// The weights are read and decoded once for the tokens of all sequences; attention runs for each
// over its own cache. Sessions may join and leave between steps, some may read their prompts while
// others generate. A sequence's logits are, bit for bit, those that it would have alone, whoever
// takes part beside it; with Activations::kInt8 their last bits depend on how many tokens a step
// has, as products then add up one token and several in different orders. After the first steps of
// a size nothing is allocated.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/session.h"

namespace halftone {

class Batch {
 public:
  // What a step appends to one session: at least one token.
  struct Part {
    Session* session = nullptr;
    std::span<const int32_t> tokens;
  };

  // For sessions of `model`; a step has at most `max_tokens` tokens, those of all parts together.
  Batch(std::shared_ptr<const LoadedModel> model, int64_t max_tokens);

  int64_t max_tokens() const { return workspace_.max_tokens(); }

  // Appends to each part's session its tokens and writes the logits of each part's last token to
  // `logits`, [parts, vocabulary]. Throws Error, before any session has changed, as Session::Append
  // does and (kUsage) for more than max_tokens tokens, a part without tokens, a session of another
  // model and one that comes twice; afterwards kFormat as Session::Append.
  void Step(std::span<const Part> parts, float* logits);

 private:
  void Check(std::span<const Part> parts) const;

  std::shared_ptr<const LoadedModel> model_;
  Workspace workspace_;
  std::vector<TokenRun> runs_;
  std::vector<int32_t> ids_;
};

}  // namespace halftone
