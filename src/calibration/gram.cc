#include "calibration/gram.h"

#include <algorithm>

namespace halftone {

void GramSum::Add(const float* a, const float* b, int64_t tokens, Ops& ops) {
  symmetric_ = symmetric_ && a == b;
  ops.AddOuterProducts(a, b, tokens, n_, sum_.data());
  tokens_ += tokens;
}

std::vector<float> GramSum::Mean() const {
  std::vector<float> mean(sum_.size());
  const double scale = tokens_ > 0 ? 1.0 / static_cast<double>(tokens_) : 0.0;
  for (int64_t i = 0; i < n_; ++i) {
    for (int64_t j = 0; j < n_; ++j) {
      const int64_t from = symmetric_ && j > i ? j * n_ + i : i * n_ + j;
      mean[i * n_ + j] = static_cast<float>(sum_[from] * scale);
    }
  }
  return mean;
}

}  // namespace halftone
