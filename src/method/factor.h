// The triangular factor of a Gram matrix that error feedback runs on.
//
//   H + damping * mean(diag H) * I = U D U^T,  U unit upper triangular, D diagonal and positive
//
// With E = W - Q the error of a linear layer is tr(E H E^T) = sum_j D[j] |E U|_j^2. Rounded from
// the left, column j of E U is e_j + sum_{i<j} e_i U[i,j]: what the columns before have done wrong
// is added to the weight that is rounded next, and D[j] is what its rounding error costs. That is
// GPTQ's recursion (Frantar et al. 2022, arXiv:2210.17323) without an inverse (QuIP's LDLQ, Chee et
// al. 2023, arXiv:2307.13304).

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace halftone {

struct Factor {
  int64_t n = 0;
  std::vector<float> u;  // [n, n], the part above the diagonal; the rest is 0
  std::vector<float> d;  // [n]
  double damping = 0;    // what was needed
};

// gram: [n, n], symmetric. Tries `damping` and then ten times as much until the matrix is positive
// definite; none if it is not at 1, is all zero or holds a value that is not finite.
std::optional<Factor> FactorGram(std::span<const float> gram, int64_t n, double damping,
                                 ThreadPool& pool);

}  // namespace halftone
