#include "evaluation/quality.h"

#include <algorithm>
#include <cmath>

namespace halftone {
namespace {

struct Normalizer {
  int64_t top = 0;     // the likeliest token
  double log_sum = 0;  // ln sum exp(logit)

  Normalizer(const float* logits, int64_t n) {
    top = std::max_element(logits, logits + n) - logits;
    const float largest = logits[top];
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(logits[i] - largest);
    log_sum = largest + std::log(sum);
  }
};

Estimate MeanOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  const double mean = values.empty() ? 0 : sum / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / n / (n - 1)) : 0};
}

// exp of the mean, its error by propagation.
Estimate PerplexityOf(const std::vector<double>& nlls) {
  const Estimate mean = MeanOf(nlls);
  const double perplexity = std::exp(mean.value);
  return {perplexity, perplexity * mean.error};
}

// The value at a fraction of the sorted values, linear between neighbours.
double Percentile(const std::vector<double>& sorted, double fraction) {
  if (sorted.empty()) return 0;
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(low);
  return sorted[low] * (1 - part) + sorted[high] * part;
}

}  // namespace

QualityMeter::Position QualityMeter::Score(const float* logits, const float* reference,
                                           int32_t token, int64_t vocabulary) {
  const Normalizer q(logits, vocabulary);
  Position position;
  position.nll = q.log_sum - logits[token];
  if (reference == nullptr) return position;
  // One pass over the reference: its normalizer, and the sum of p (ln p - ln q), in which
  // ln p - ln q = (p_i - q_i) - (log_sum_p - log_sum_q).
  const int64_t top = std::max_element(reference, reference + vocabulary) - reference;
  const float largest = reference[top];
  double weighted = 0, total = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    const double e = std::exp(reference[i] - largest);
    weighted += e * (static_cast<double>(reference[i]) - logits[i]);
    total += e;
  }
  const double log_sum = largest + std::log(total);
  position.has_reference = true;
  position.reference_nll = log_sum - reference[token];
  position.same_top1 = top == q.top;
  position.delta_p = std::exp(-position.nll) - std::exp(-position.reference_nll);
  position.kld = std::max(0.0, weighted / total - (log_sum - q.log_sum));
  return position;
}

void QualityMeter::Add(const float* logits, const float* reference, std::span<const int32_t> tokens,
                       int64_t vocabulary, ThreadPool& pool) {
  const size_t first = positions_.size();
  positions_.resize(first + tokens.size());
  pool.For(static_cast<int64_t>(tokens.size()), [&](int64_t i, int) {
    positions_[first + i] =
        Score(logits + i * vocabulary, reference ? reference + i * vocabulary : nullptr, tokens[i],
              vocabulary);
  });
}

EvaluateReport QualityMeter::Report() const {
  EvaluateReport report;
  report.tokens = static_cast<int64_t>(positions_.size());
  std::vector<double> nll, reference_nll, kld, same, squared;
  for (const Position& p : positions_) {
    nll.push_back(p.nll);
    report.has_reference = report.has_reference || p.has_reference;
    reference_nll.push_back(p.reference_nll);
    kld.push_back(p.kld);
    same.push_back(p.same_top1 ? 1 : 0);
    squared.push_back(p.delta_p * p.delta_p);
  }
  report.perplexity = PerplexityOf(nll);
  if (!report.has_reference) return report;
  report.reference_perplexity = PerplexityOf(reference_nll);
  report.kld_mean = MeanOf(kld);
  report.same_top1 = MeanOf(same);
  const Estimate mean_square = MeanOf(squared);
  const double rms = std::sqrt(mean_square.value);
  report.rms_delta_p = {rms, rms > 0 ? mean_square.error / (2 * rms) : 0};
  std::ranges::sort(kld);
  report.kld_median = Percentile(kld, 0.5);
  report.kld_p99 = Percentile(kld, 0.99);
  report.kld_max = kld.empty() ? 0 : kld.back();
  return report;
}

}  // namespace halftone
