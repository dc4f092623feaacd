// Text and conversations as training reads them: examples of at most one context each.
//
// Plain text is cut into pieces of a context, all of whose tokens count. Of JSON lines (the forms
// of text_input.h) each is an example; of conversations only what the assistant says counts, its
// closing token included. What a message's tokens are is seen by comparing the conversation with
// its beginnings, each put through the chat template.

#pragma once

#include <string>
#include <vector>

#include "halftone/progress.h"
#include "pipeline/text_input.h"
#include "tensor/checkpoint.h"
#include "training/example.h"

namespace halftone {

struct TrainingText {
  std::vector<TrainingExample> examples;
  int64_t truncated = 0;  // examples that were longer than the context
  int64_t dropped = 0;    // examples without a token that counts
};

// Throws Error: kFormat naming file and line for a broken line, kUsage for no example at all and,
// with `refuse_long`, for one that is longer than `context` tokens.
TrainingText ReadTrainingText(const Checkpoint& model, const TextInput& input, int64_t context,
                              bool refuse_long, Progress* progress);

}  // namespace halftone
