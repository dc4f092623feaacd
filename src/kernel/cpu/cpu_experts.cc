// Experts of CpuOps: which of them a token uses, how rows go to them and come back, and the
// derivatives of that.

#include <algorithm>
#include <cmath>

#include "kernel/cpu/cpu_ops.h"

namespace halftone {
namespace {

// The `used` experts of the largest logits, in ascending order.
void Choose(const float* logits, int64_t experts, int64_t used, int32_t* chosen) {
  for (int64_t j = 0; j < used; ++j) {
    int64_t best = -1;
    for (int64_t e = 0; e < experts; ++e) {
      const bool taken = std::find(chosen, chosen + j, static_cast<int32_t>(e)) != chosen + j;
      if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
    }
    chosen[j] = static_cast<int32_t>(best);
  }
  std::sort(chosen, chosen + used);
}

}  // namespace

void CpuOps::ChooseExperts(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                           bool normalized, int32_t* chosen, float* weights) {
  Split(tokens, 1, tokens * experts * used, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = logits + t * experts;
      int32_t* of_token = chosen + t * used;
      Choose(row, experts, used, of_token);
      const float largest = *std::max_element(row, row + experts);
      float sum = 0, of_chosen = 0, poison = 0;
      for (int64_t e = 0; e < experts; ++e) {
        sum += std::exp(row[e] - largest);
        poison += row[e] * 0;  // NaN where a router's number is not finite: it would not be chosen
      }
      for (int64_t j = 0; j < used; ++j) {
        weights[t * used + j] = std::exp(row[of_token[j]] - largest) + poison;
        of_chosen += weights[t * used + j];
      }
      for (int64_t j = 0; j < used; ++j) weights[t * used + j] /= normalized ? of_chosen : sum;
    }
  });
}

void CpuOps::GatherRows(const float* x, std::span<const int32_t> rows, int64_t width, float* y) {
  const auto count = static_cast<int64_t>(rows.size());
  Split(count, 1, count * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) std::copy_n(x + rows[i] * width, width, y + i * width);
  });
}

void CpuOps::SumRows(const float* x, std::span<const int32_t> rows, const float* weights,
                     int64_t each, int64_t width, float* y) {
  const int64_t tokens = static_cast<int64_t>(rows.size()) / each;
  Split(tokens, 1, tokens * each * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* to = y + t * width;
      std::fill(to, to + width, 0.0f);
      for (int64_t j = 0; j < each; ++j) {
        const float* from = x + rows[t * each + j] * width;
        const float weight = weights == nullptr ? 1.0f : weights[t * each + j];
        for (int64_t i = 0; i < width; ++i) to[i] += weight * from[i];
      }
    }
  });
}

void CpuOps::ChooseExpertsBack(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                               bool normalized, const int32_t* chosen, const float* weights,
                               const float* dweights, float* dlogits) {
  Split(tokens, 1, tokens * experts * 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* w = weights + t * used;
      const float* dw = dweights + t * used;
      float* to = dlogits + t * experts;
      double shared = 0;
      for (int64_t j = 0; j < used; ++j) shared += static_cast<double>(w[j]) * dw[j];
      const auto pull = static_cast<float>(shared);
      if (normalized) {
        std::fill_n(to, experts, 0.0f);
      } else {
        const float* row = logits + t * experts;
        const float largest = *std::max_element(row, row + experts);
        double sum = 0;
        for (int64_t e = 0; e < experts; ++e) sum += to[e] = std::exp(row[e] - largest);
        const auto each = static_cast<float>(1 / sum);
        for (int64_t e = 0; e < experts; ++e) to[e] *= -pull * each;
      }
      for (int64_t j = 0; j < used; ++j) to[chosen[t * used + j]] = w[j] * (dw[j] - pull);
    }
  });
}

void CpuOps::SumRowsBack(const float* x, std::span<const int32_t> rows, const float* weights,
                         int64_t each, int64_t width, const float* dy, float* dx, float* dweights) {
  const int64_t tokens = static_cast<int64_t>(rows.size()) / each;
  Split(tokens, 1, tokens * each * width * 2, [&](int64_t begin, int64_t end, int) {
    for (int64_t pair = begin * each; pair < end * each; ++pair) {
      const float* from = x + rows[pair] * width;
      const float* of = dy + pair / each * width;
      double product = 0;
      for (int64_t i = 0; i < width; ++i) product += static_cast<double>(from[i]) * of[i];
      dweights[pair] = static_cast<float>(product);
      float* to = dx + rows[pair] * width;
      for (int64_t i = 0; i < width; ++i) to[i] = weights[pair] * of[i];
    }
  });
}

}  // namespace halftone
