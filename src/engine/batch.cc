#include "engine/batch.h"

#include <utility>

#include "base/error.h"

namespace halftone {

Batch::Batch(std::shared_ptr<const LoadedModel> model, int64_t max_tokens)
    : model_(std::move(model)), workspace_(model_->weights.parameters, *model_->ops, max_tokens) {
  runs_.reserve(static_cast<size_t>(max_tokens));
  ids_.reserve(static_cast<size_t>(max_tokens));
}

void Batch::Check(std::span<const Part> parts) const {
  const std::string& path = model_->checkpoint.path;
  int64_t count = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Session& session = *parts[i].session;
    if (&session.model() != model_.get()) FailUsage("{}: a session is of another model", path);
    for (size_t j = 0; j < i; ++j) {
      if (parts[j].session == &session) FailUsage("{}: a session comes twice in a step", path);
    }
    if (parts[i].tokens.empty()) FailUsage("{}: a session has no tokens in a step", path);
    session.CheckFits(parts[i].tokens);
    count += static_cast<int64_t>(parts[i].tokens.size());
  }
  if (count > max_tokens()) {
    FailUsage("{}: a step has {} tokens, more than {}", path, count, max_tokens());
  }
}

void Batch::Step(std::span<const Part> parts, float* logits) {
  Check(parts);
  if (parts.empty()) return;
  runs_.clear();
  ids_.clear();
  for (const Part& part : parts) {
    const auto count = static_cast<int64_t>(part.tokens.size());
    runs_.push_back({part.session->cache_.get(), part.session->position_, count});
    ids_.insert(ids_.end(), part.tokens.begin(), part.tokens.end());
  }
  Forward(model_->weights, *model_->ops, runs_, workspace_, ids_, logits);
  const int64_t vocabulary = model_->weights.parameters.vocabulary;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].session->position_ += runs_[i].tokens;
    model_->CheckFinite(logits + static_cast<int64_t>(i) * vocabulary);
  }
}

}  // namespace halftone
