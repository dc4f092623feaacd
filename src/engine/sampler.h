// Choosing the next token from logits.

#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "halftone/model.h"

namespace halftone {

// Cuts the distribution by top-k, then top-p, then min-p, divides the logits of what is left by the
// temperature and draws (the order of llama.cpp's default chain). Deterministic for a seed.
class Sampler {
 public:
  // Throws Error (kUsage) for values out of range.
  explicit Sampler(const SamplingOptions& options);

  int32_t Next(std::span<const float> logits);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace halftone
