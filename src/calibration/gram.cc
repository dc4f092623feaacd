#include "calibration/gram.h"

#include <algorithm>

#include "base/pages.h"

namespace halftone {

void GramSum::Add(const float* a, const float* b, int64_t tokens, Ops& ops) {
  symmetric_ = symmetric_ && a == b;
  if (sum_ == nullptr) sum_ = AllocatePages(static_cast<uint64_t>(n_ * n_) * sizeof(double));
  ops.AddOuterProducts(a, b, tokens, n_, sum());
  tokens_ += tokens;
}

std::vector<float> GramSum::Mean() const {
  std::vector<float> mean(static_cast<size_t>(n_ * n_));
  if (tokens_ == 0) return mean;
  const double scale = 1.0 / static_cast<double>(tokens_);
  // In tiles, since half of a symmetric one is read down its columns.
  constexpr int64_t kTile = 64;
  for (int64_t i0 = 0; i0 < n_; i0 += kTile) {
    for (int64_t j0 = 0; j0 < n_; j0 += kTile) {
      for (int64_t i = i0; i < std::min(n_, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(n_, j0 + kTile); ++j) {
          const int64_t from = symmetric_ && j > i ? j * n_ + i : i * n_ + j;
          mean[i * n_ + j] = static_cast<float>(sum()[from] * scale);
        }
      }
    }
  }
  return mean;
}

}  // namespace halftone
