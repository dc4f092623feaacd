#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace halftone {

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {
  if (!(options.temperature >= 0)) FailUsage("temperature must be 0 or more");
  if (options.top_k < 0) FailUsage("top-k must be 0 (off) or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) FailUsage("top-p must be above 0 and at most 1");
  if (!(options.min_p >= 0 && options.min_p < 1)) FailUsage("min-p must be 0 or more and below 1");
}

int32_t Sampler::Next(std::span<const float> logits) {
  if (options_.temperature == 0) {
    return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != -INFINITY) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  // Ties fall by id, so that the order is the same everywhere.
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  size_t keep = candidates_.size();
  if (options_.top_k > 0) keep = std::min(keep, static_cast<size_t>(options_.top_k));
  std::ranges::partial_sort(candidates_, candidates_.begin() + static_cast<int64_t>(keep), before);
  candidates_.resize(keep);

  const double largest = candidates_.front().logit;
  weights_.clear();
  for (const Candidate& c : candidates_) weights_.push_back(std::exp(c.logit - largest));
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  double seen = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (i > 0 && (seen >= options_.top_p * total || weights_[i] < options_.min_p)) {
      weights_.resize(i);
      break;
    }
    seen += weights_[i];
  }
  for (size_t i = 0; i < weights_.size(); ++i) {
    weights_[i] = std::exp((candidates_[i].logit - largest) / options_.temperature);
  }
  // 53 random bits make a double in [0, 1); the standard's distributions differ between libraries.
  const double draw = static_cast<double>(random_() >> 11) * 0x1p-53 *
                      std::accumulate(weights_.begin(), weights_.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    sum += weights_[i];
    if (draw < sum) return candidates_[i].id;
  }
  return candidates_[weights_.size() - 1].id;
}

}  // namespace halftone
