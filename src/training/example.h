// What is trained on: sequences of tokens, and which of them count.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "training/training_pass.h"

namespace halftone {

struct TrainingExample {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> scored;  // of each token, whether the loss asks how well it was foreseen

  // Tokens that the loss sees: the first cannot be foreseen.
  int64_t count() const {
    int64_t count = 0;
    for (size_t i = 1; i < scored.size(); ++i) count += scored[i];
    return count;
  }
};

// The tokens of the longest example, or `least` where that is more.
inline int64_t LongestOf(const std::vector<TrainingExample>& examples, int64_t least = 2) {
  for (const TrainingExample& example : examples) {
    least = std::max(least, static_cast<int64_t>(example.tokens.size()));
  }
  return least;
}

// Adds it to a batch as a sequence of its own.
inline void AddTo(const TrainingExample& example, TrainingBatch& batch) {
  const size_t length = example.tokens.size();
  batch.tokens.insert(batch.tokens.end(), example.tokens.begin(), example.tokens.end());
  batch.lengths.push_back(static_cast<int64_t>(length));
  for (size_t i = 0; i < length; ++i) {
    const bool counts = i + 1 < length && example.scored[i + 1] != 0;
    batch.targets.push_back(counts ? example.tokens[i + 1] : kNotScored);
  }
}

}  // namespace halftone
