#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "evaluation/memory.h"
#include "evaluation/quality.h"

namespace halftone {
namespace {

// The definitions, word by word, in f64.
struct Definition {
  double nll, reference_nll, kld, delta_p;
  bool same;
};

Definition Define(const std::vector<float>& q, const std::vector<float>& p, int32_t token) {
  const auto softmax = [](const std::vector<float>& logits) {
    std::vector<double> e;
    double sum = 0;
    for (const float v : logits) e.push_back(std::exp(static_cast<double>(v)));
    for (const double v : e) sum += v;
    for (double& v : e) v /= sum;
    return e;
  };
  const auto pq = softmax(q), pp = softmax(p);
  Definition d{-std::log(pq[token]), -std::log(pp[token]), 0, pq[token] - pp[token], false};
  for (size_t i = 0; i < pq.size(); ++i) d.kld += pp[i] * std::log(pp[i] / pq[i]);
  d.same = std::max_element(q.begin(), q.end()) - q.begin() ==
           std::max_element(p.begin(), p.end()) - p.begin();
  return d;
}

TEST(QualityMeterTest, AgreesWithTheDefinitions) {
  constexpr int64_t kVocabulary = 301;
  constexpr int64_t kPositions = 57;
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> p(kVocabulary * kPositions), q(p.size());
  std::vector<int32_t> tokens(kPositions);
  for (size_t i = 0; i < p.size(); ++i) {
    p[i] = normal(random);
    q[i] = p[i] + 0.2f * normal(random);
  }
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % kVocabulary);

  double nll = 0, kld = 0, squares = 0, same = 0, largest = 0, reference = 0;
  for (int64_t i = 0; i < kPositions; ++i) {
    const auto row = [&](const std::vector<float>& v) {
      return std::vector<float>(v.begin() + i * kVocabulary, v.begin() + (i + 1) * kVocabulary);
    };
    const Definition d = Define(row(q), row(p), tokens[i]);
    nll += d.nll / kPositions;
    reference += d.reference_nll / kPositions;
    kld += d.kld / kPositions;
    squares += d.delta_p * d.delta_p / kPositions;
    same += static_cast<double>(d.same) / kPositions;
    largest = std::max(largest, d.kld);
  }
  ThreadPool pool(3);
  QualityMeter meter;
  // In two unequal batches.
  meter.Add(q.data(), p.data(), std::span(tokens).first(20), kVocabulary, pool);
  meter.Add(q.data() + 20 * kVocabulary, p.data() + 20 * kVocabulary, std::span(tokens).subspan(20),
            kVocabulary, pool);
  const EvaluateReport report = meter.Report();
  EXPECT_EQ(report.tokens, kPositions);
  EXPECT_NEAR(report.perplexity.value, std::exp(nll), 1e-5 * std::exp(nll));
  EXPECT_NEAR(report.reference_perplexity.value, std::exp(reference), 1e-5 * std::exp(reference));
  EXPECT_NEAR(report.kld_mean.value, kld, 1e-6);
  EXPECT_NEAR(report.kld_max, largest, 1e-6);
  EXPECT_NEAR(report.rms_delta_p.value, std::sqrt(squares), 1e-6);
  EXPECT_NEAR(report.same_top1.value, same, 1e-12);
  EXPECT_GT(report.kld_p99, report.kld_median);
}

TEST(QualityMeterTest, AModelDoesNotDivergeFromItself) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0, 5);
  std::vector<float> p(1000 * 4);
  for (float& v : p) v = normal(random);
  ThreadPool pool(1);
  QualityMeter meter;
  meter.Add(p.data(), p.data(), std::vector<int32_t>{1, 2, 3, 4}, 1000, pool);
  const EvaluateReport report = meter.Report();
  EXPECT_LT(report.kld_max, 1e-12);
  EXPECT_EQ(report.same_top1.value, 1);
  EXPECT_EQ(report.rms_delta_p.value, 0);
}

TEST(MemoryTest, PeakRisesWithWhatIsTouched) {
  ResetPeakMemory();
  const uint64_t before = PeakMemory();
  { const std::vector<char> block(64 << 20, 1); }
  EXPECT_GE(PeakMemory(), before + (60u << 20));
}

TEST(BandwidthTest, IsPlausible) {
  const double gbps = MeasureReadBandwidth(1);
  EXPECT_GT(gbps, 0.1);
  EXPECT_LT(gbps, 1000);
}

}  // namespace
}  // namespace halftone
