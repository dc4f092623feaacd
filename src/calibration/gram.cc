#include "calibration/gram.h"

#include <algorithm>

namespace halftone {
namespace {

// Rows of the matrix that are computed by one product.
constexpr int64_t kPanel = 256;

// [tokens, n] -> [n, tokens].
std::vector<float> Turned(const float* x, int64_t tokens, int64_t n) {
  constexpr int64_t kTile = 16;
  std::vector<float> turned(static_cast<size_t>(tokens * n));
  for (int64_t t0 = 0; t0 < tokens; t0 += kTile) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t t = t0; t < std::min(tokens, t0 + kTile); ++t) {
        turned[i * tokens + t] = x[t * n + i];
      }
    }
  }
  return turned;
}

}  // namespace

void GramSum::Add(const float* a, const float* b, int64_t tokens, Ops& ops) {
  const std::vector<float> left = Turned(a, tokens, n_);
  const std::vector<float> right = a == b ? std::vector<float>() : Turned(b, tokens, n_);
  std::vector<float> product;
  for (int64_t begin = 0; begin < n_; begin += kPanel) {
    const int64_t width = std::min(kPanel, n_ - begin);
    // Rows of `matrix` are columns of the result: result[i, begin + j] = a_i . b_(begin + j).
    const float* columns = (a == b ? left : right).data() + begin * tokens;
    const auto matrix = ops.Prepare(
        MakeF32Tensor("gram", {width, tokens}, {columns, static_cast<size_t>(width * tokens)}));
    // Of a symmetric result the rows from the panel on are enough: the rest is their mirror.
    const int64_t first = a == b ? begin : 0;
    product.resize(static_cast<size_t>((n_ - first) * width));
    ops.MatMul(*matrix, left.data() + first * tokens, n_ - first, product.data());
    for (int64_t i = first; i < n_; ++i) {
      const float* row = product.data() + (i - first) * width;
      double* sums = sum_.data() + i * n_ + begin;
      for (int64_t j = 0; j < width; ++j) sums[j] += row[j];
      if (a != b || i < begin + width) continue;
      for (int64_t j = 0; j < width; ++j) sum_[(begin + j) * n_ + i] += row[j];
    }
  }
  tokens_ += tokens;
}

std::vector<float> GramSum::Mean() const {
  std::vector<float> mean(sum_.size());
  const double scale = tokens_ > 0 ? 1.0 / static_cast<double>(tokens_) : 0.0;
  for (size_t i = 0; i < mean.size(); ++i) mean[i] = static_cast<float>(sum_[i] * scale);
  return mean;
}

}  // namespace halftone
