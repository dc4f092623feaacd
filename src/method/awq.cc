// awq: activation-aware scales (Lin et al. 2023, arXiv:2306.00978). Columns that meet large
// activations are scaled up before they are rounded, so that their rounding errors count less.
//
// The factor of a column is x^a or x^a / w^(1-a), x being the root mean square of its activations
// and w the mean magnitude of its weights relative to their group's largest; a in steps of 1/20.
// The candidate is kept whose error of the layers' outputs, tr(E G E^T) by the Gram matrix G of the
// inputs, is least when the weights are rounded as the grid's own encoder does with importances. No
// scaling is among the candidates.
//
// As published and in AutoAWQ, apart from: the mean square instead of the mean magnitude of
// activations, the exact error of linear outputs instead of a block's output on a sample, and query
// heads that share a value head are scaled alike instead of left alone.

#include <algorithm>
#include <cmath>

#include "base/finite.h"
#include "method/gram_error.h"
#include "method/round_rows.h"
#include "method/transform.h"

namespace halftone {
namespace {

constexpr int kSteps = 20;
// Rows of each linear layer that the search looks at, evenly spread; enough to tell candidates
// apart.
constexpr int64_t kSampledRows = 512;
constexpr double kLeast = 1e-4;

// The rows of a linear layer that are looked at.
struct Sample {
  std::vector<float> weights;  // [rows, n]
  int64_t rows = 0;
  double weight = 1;  // rows of the layer for each of them
  const Grid* grid = nullptr;
};

Sample SampleOf(const ScaledLinear& linear, int64_t n) {
  Sample sample;
  sample.rows = std::min(linear.rows, kSampledRows);
  sample.grid = linear.grid;
  sample.weight = static_cast<double>(linear.rows) / static_cast<double>(sample.rows);
  for (int64_t i = 0; i < sample.rows; ++i) {
    const auto row = linear.weights.subspan(i * linear.rows / sample.rows * n, n);
    sample.weights.insert(sample.weights.end(), row.begin(), row.end());
  }
  return sample;
}

// Columns that share a source get the mean of theirs.
void ShareAlike(std::span<const int32_t> source, std::vector<double>& values) {
  const int32_t sources = 1 + *std::ranges::max_element(source);
  std::vector<double> sum(sources), count(sources);
  for (size_t i = 0; i < values.size(); ++i) {
    sum[source[i]] += values[i];
    ++count[source[i]];
  }
  for (size_t i = 0; i < values.size(); ++i) values[i] = sum[source[i]] / count[source[i]];
}

// The root mean square of each column's activations.
std::vector<double> Activations(const ScaleProblem& problem) {
  std::vector<double> x(static_cast<size_t>(problem.n));
  for (int64_t i = 0; i < problem.n; ++i) x[i] = problem.gram[i * problem.n + i];
  ShareAlike(problem.source, x);
  for (double& v : x) v = std::sqrt(std::max(0.0, v));
  return x;
}

// The mean magnitude of each column's weights, each relative to the largest of its block.
std::vector<double> Magnitudes(const ScaleProblem& problem, const std::vector<Sample>& samples) {
  std::vector<double> mean(static_cast<size_t>(problem.n));
  double rows = 0;
  for (const Sample& sample : samples) {
    rows += static_cast<double>(sample.rows) * sample.weight;
    const int block = sample.grid->block;
    for (size_t at = 0; at < sample.weights.size(); at += block) {
      float largest = 0;
      for (int e = 0; e < block; ++e) largest = std::max(largest, std::abs(sample.weights[at + e]));
      if (largest == 0) continue;
      for (int e = 0; e < block; ++e) {
        mean[(at + e) % problem.n] += sample.weight * std::abs(sample.weights[at + e]) / largest;
      }
    }
  }
  for (double& v : mean) v /= rows;
  ShareAlike(problem.source, mean);
  return mean;
}

// Scaled so that the largest times the smallest is one, which keeps the weights' magnitude.
std::vector<float> Normalized(const std::vector<double>& factors) {
  const auto [least, largest] = std::ranges::minmax(factors);
  const double middle = std::sqrt(least * largest);
  std::vector<float> scales;
  for (const double f : factors) scales.push_back(static_cast<float>(f / middle));
  return scales;
}

// The error of the outputs if columns are scaled so before they are rounded.
double ErrorWith(const ScaleProblem& problem, const std::vector<Sample>& samples,
                 const std::vector<float>& scales, ThreadPool& pool) {
  const int64_t n = problem.n;
  std::vector<float> gram(problem.gram.begin(), problem.gram.end());
  std::vector<float> importance(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) gram[i * n + j] /= scales[i] * scales[j];
    importance[i] = gram[i * n + i];
  }
  double error = 0;
  for (const Sample& sample : samples) {
    std::vector<float> weights = sample.weights;
    for (size_t i = 0; i < weights.size(); ++i) weights[i] *= scales[i % n];
    std::vector<uint8_t> blocks(static_cast<uint64_t>(sample.rows) * sample.grid->RowBytes(n));
    RoundRows(weights, sample.rows, n, importance, *sample.grid, pool, blocks.data());
    error += sample.weight *
             OutputError(weights, sample.rows, *sample.grid, blocks.data(), gram, {}, 0, pool);
  }
  return error;
}

std::vector<float> Scales(const ScaleProblem& problem, ThreadPool& pool) {
  const auto n = static_cast<size_t>(problem.n);
  std::vector<float> best(n, 1.0f);
  std::vector<Sample> samples;
  for (const ScaledLinear& linear : problem.linears) {
    if (!linear.grid->plain) samples.push_back(SampleOf(linear, problem.n));
  }
  if (samples.empty() || problem.gram.empty() || !AllFinite(problem.gram)) {
    return best;
  }
  const std::vector<double> x = Activations(problem), w = Magnitudes(problem, samples);
  double least = ErrorWith(problem, samples, best, pool);
  std::vector<double> factors(n);
  for (int step = 1; step <= 2 * kSteps; ++step) {
    const bool by_weight = step > kSteps;
    const double a = (by_weight ? step - kSteps - 1 : step) / static_cast<double>(kSteps);
    for (size_t i = 0; i < n; ++i) {
      const double f = std::pow(x[i], a) / (by_weight ? std::pow(w[i], 1 - a) + kLeast : 1.0);
      factors[i] = std::max(f, kLeast);
    }
    const std::vector<float> scales = Normalized(factors);
    const double error = ErrorWith(problem, samples, scales, pool);
    if (error < least) {
      least = error;
      best = scales;
    }
  }
  return best;
}

}  // namespace

extern const Transform kTransform_awq;
constinit const Transform kTransform_awq{
    "awq", "scales columns by their activations before rounding; alone: awq+clip", "clip", &Scales};

}  // namespace halftone
