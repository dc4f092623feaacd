// Second moments of the inputs of linear layers.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernel/ops.h"

namespace halftone {

// The mean of a b^T over tokens. The products of one batch are summed in f32, batches in f64.
class GramSum {
 public:
  explicit GramSum(int64_t n) : n_(n) {}

  GramSum(GramSum&&) = default;
  GramSum& operator=(GramSum&&) = default;

  // a, b: [tokens, n]; the same in every call, and then half the work, or never.
  void Add(const float* a, const float* b, int64_t tokens, Ops& ops);

  int64_t tokens() const { return tokens_; }
  // [n, n], row i: a[i] b^T.
  std::vector<float> Mean() const;

 private:
  int64_t n_;
  int64_t tokens_ = 0;
  bool symmetric_ = true;
  // [n, n]; of a symmetric one only the lower triangle counts. null until something is added: for
  // wide layers it is hundreds of megabytes. Never shared.
  std::shared_ptr<uint8_t[]> sum_;
  double* sum() const { return reinterpret_cast<double*>(sum_.get()); }
};

}  // namespace halftone
