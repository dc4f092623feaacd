// How far a model's predictions are from the text and from a reference model's.
//
// Perplexity is exp of the mean negative log-likelihood of the true tokens. Against a reference
// with probabilities p and a model with q: KL divergence sum p ln(p/q) in nats; same-top-1, whether
// both hold the same token likeliest; delta-p, q(true token) - p(true token). These are the
// definitions of llama-perplexity, whose figures ours equal up to its 16-bit storage of reference
// logits.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "halftone/evaluate.h"

namespace halftone {

class QualityMeter {
 public:
  // Adds scored positions. logits, reference: [tokens.size(), vocabulary]; tokens: the true next
  // tokens. reference is null where there is no reference model; then it must always be.
  void Add(const float* logits, const float* reference, std::span<const int32_t> tokens,
           int64_t vocabulary, ThreadPool& pool);

  // Fills in everything but the chunks and the time.
  EvaluateReport Report() const;

 private:
  struct Position {
    double nll = 0;
    double reference_nll = 0;
    double kld = 0;
    double delta_p = 0;
    bool same_top1 = false;
    bool has_reference = false;
  };

  static Position Score(const float* logits, const float* reference, int32_t token,
                        int64_t vocabulary);

  std::vector<Position> positions_;
};

}  // namespace halftone
