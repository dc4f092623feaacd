#include "engine/session.h"

#include <algorithm>

#include "base/error.h"
#include "base/finite.h"
#include "model/architecture.h"
#include "model/text_model.h"

namespace halftone {
namespace {

// Called once something has gone wrong: names the tensor that holds a value that is no number.
[[noreturn]] void FailNotFinite(const Checkpoint& checkpoint) {
  for (const Tensor& stored : checkpoint.tensors) {
    const Tensor tensor = Loaded(stored);
    std::vector<float> row(static_cast<size_t>(tensor.cols()));
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      DecodeRow(tensor, r, row.data());
      if (!AllFinite(row)) {
        FailFormat("{}: tensor '{}' holds a value that is not finite in row {}", checkpoint.path,
                   tensor.name, r);
      }
    }
  }
  FailFormat("{}: the model's outputs are not finite", checkpoint.path);
}

}  // namespace

LoadedModel::LoadedModel(Checkpoint c, std::shared_ptr<Ops> o)
    : checkpoint(TextModelOf(std::move(c))),
      ops(std::move(o)),
      weights(BindWeights(checkpoint, *ops)) {}

void LoadedModel::CheckFinite(const float* logits) const {
  if (!AllFinite({logits, static_cast<size_t>(weights.parameters.vocabulary)})) {
    FailNotFinite(checkpoint);
  }
}

void CheckTokensHaveRows(const Checkpoint& checkpoint) {
  const auto* tokens = checkpoint.metadata.Strings("tokenizer.ggml.tokens");
  const Tensor* embedding = checkpoint.Find("token_embd.weight");
  if (tokens == nullptr || embedding == nullptr) return;
  const auto count = static_cast<int64_t>(tokens->size());
  if (count > embedding->rows()) {
    FailFormat("{}: the tokenizer has {} tokens but the embedding only {} rows", checkpoint.path,
               count, embedding->rows());
  }
}

Metadata TokenizerMetadata(const Checkpoint& checkpoint) {
  Metadata metadata;
  if (checkpoint.dialect == Dialect::kHuggingFace) {
    if (!checkpoint.documents.contains("tokenizer.json") &&
        !checkpoint.documents.contains("tokenizer.model")) {
      // A folder of weights alone still converts and runs on token ids.
      metadata.Set("tokenizer.ggml.model", Value(std::string("none")));
      return metadata;
    }
    const Hyperparameters parameters = ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint));
    return TokenizerMetadataFromHf(checkpoint.documents, parameters.vocabulary, checkpoint.path);
  }
  CheckTokensHaveRows(checkpoint);
  for (const auto& [key, value] : checkpoint.metadata.entries()) {
    if (key.starts_with("tokenizer.")) metadata.Set(key, value);
  }
  return metadata;
}

std::unique_ptr<Tokenizer> MakeTokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.dialect == Dialect::kGguf) {
    CheckTokensHaveRows(checkpoint);
    return Tokenizer::FromMetadata(checkpoint.metadata, checkpoint.path);
  }
  return Tokenizer::FromMetadata(TokenizerMetadata(checkpoint), checkpoint.path);
}

Session::Session(std::shared_ptr<const LoadedModel> model, int64_t context, const Grid& cache_grid,
                 int64_t batch)
    : model_(std::move(model)), context_(context), batch_(std::min(batch, context)) {
  const Hyperparameters& p = model_->weights.parameters;
  cache_ = model_->ops->MakeCache({p.heads, p.kv_heads, p.head_dim, p.layers, context}, cache_grid);
}

void Session::Rewind(int64_t position) { position_ = std::min(position, position_); }

void Session::CheckFits(std::span<const int32_t> tokens) const {
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t vocabulary = model_->weights.parameters.vocabulary;
  if (position_ + count > context_) {
    FailUsage("{}: {} tokens do not fit the context of {}", model_->checkpoint.path,
              position_ + count, context_);
  }
  for (const int32_t id : tokens) {
    if (id < 0 || id >= vocabulary) {
      FailUsage("{}: token {} is outside the vocabulary of {}", model_->checkpoint.path, id,
                vocabulary);
    }
  }
}

void Session::Append(std::span<const int32_t> tokens, int64_t wanted, float* logits, Tap* tap) {
  CheckFits(tokens);
  if (!workspace_) workspace_.emplace(model_->weights.parameters, *model_->ops, batch_);
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t vocabulary = model_->weights.parameters.vocabulary;
  const int64_t first_wanted = count - wanted;
  for (int64_t begin = 0; begin < count; begin += batch_) {
    const int64_t size = std::min(batch_, count - begin);
    const int64_t skip = std::clamp<int64_t>(first_wanted - begin, 0, size);
    // logits may be null where none are wanted.
    const int64_t row = std::max<int64_t>(0, begin - first_wanted);
    float* out = wanted > 0 ? logits + row * vocabulary : nullptr;
    Forward(model_->weights, *model_->ops, *cache_, *workspace_, tokens.subspan(begin, size),
            position_, skip, out, tap);
    position_ += size;
  }
  if (wanted == 0) return;
  model_->CheckFinite(logits + (wanted - 1) * vocabulary);
}

}  // namespace halftone
