// Running a model: what is loaded once, and the state of one sequence.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/ops.h"
#include "model/forward.h"
#include "model/weights.h"
#include "tensor/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

// A checkpoint ready to run; shared by any number of sessions, which must take turns.
struct LoadedModel {
  // Binds and prepares the weights. `ops` may be shared between models. Throws Error.
  LoadedModel(Checkpoint checkpoint, std::shared_ptr<Ops> ops);

  // Throws Error (kFormat) naming the first broken tensor if one of a token's logits, [vocabulary],
  // is not finite.
  void CheckFinite(const float* logits) const;

  Checkpoint checkpoint;
  std::shared_ptr<Ops> ops;
  ModelWeights weights;
};

// The tokenizer of a checkpoint in either dialect; `vocabulary` is the number of rows of the
// embedding.
std::unique_ptr<Tokenizer> MakeTokenizer(const Checkpoint& checkpoint);

// Throws Error (kFormat) if a GGUF file's tokenizer has more tokens than its embedding has rows; of
// a folder's the translation checks it.
void CheckTokensHaveRows(const Checkpoint& checkpoint);

// GGUF's tokenizer.* metadata of a checkpoint in either dialect.
Metadata TokenizerMetadata(const Checkpoint& checkpoint);

// One sequence with its KV cache.
class Session {
 public:
  // Holds up to `context` tokens, their keys and values on `cache_grid` (CacheGrids() in
  // kernel/ops.h); runs at most `batch` tokens at a time.
  Session(std::shared_ptr<const LoadedModel> model, int64_t context,
          const Grid& cache_grid = F32Grid(), int64_t batch = 512);

  const LoadedModel& model() const { return *model_; }
  int64_t context() const { return context_; }
  int64_t position() const { return position_; }
  uint64_t cache_bytes() const { return cache_->bytes; }

  // Forgets the tokens from `position` on.
  void Rewind(int64_t position);

  // Appends tokens to the sequence and writes the logits of the last `wanted` of them to `logits`,
  // [wanted, vocabulary]. Throws Error (kUsage) if the context is full or an id is outside the
  // vocabulary, and Error (kFormat) naming the first broken tensor if a logit is not finite.
  void Append(std::span<const int32_t> tokens, int64_t wanted, float* logits, Tap* tap = nullptr);

 private:
  friend class Batch;

  // Throws Error (kUsage) if they cannot be appended.
  void CheckFits(std::span<const int32_t> tokens) const;

  std::shared_ptr<const LoadedModel> model_;
  int64_t context_;
  int64_t batch_;
  std::unique_ptr<KvCache> cache_;
  // Made when it is first needed: sessions that only ever step in a Batch use that one's.
  std::optional<Workspace> workspace_;
  int64_t position_ = 0;
};

}  // namespace halftone
