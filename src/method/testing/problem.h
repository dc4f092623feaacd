// Rounding problems for tests: weights, and moments of inputs as layers really meet them.

#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace halftone {

// Inputs whose columns are correlated and of very different strength, as activations are.
struct Problem {
  int64_t rows, cols;
  std::vector<float> weights;  // [rows, cols]
  std::vector<float> gram;     // [cols, cols]
  std::vector<float> drift;
};

inline Problem MakeProblem(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const int64_t tokens = 2 * cols, hidden = cols / 4;
  std::vector<double> mix(static_cast<size_t>(hidden * cols)), strength(cols);
  for (double& m : mix) m = normal(random);
  for (double& s : strength) s = std::exp(1.2 * normal(random));
  Problem p{rows, cols, {}, std::vector<float>(cols * cols), std::vector<float>(cols * cols)};
  for (int64_t i = 0; i < rows * cols; ++i) {
    p.weights.push_back(static_cast<float>(0.05 * normal(random)));
  }
  std::vector<double> gram(cols * cols), drift(cols * cols), x(cols), x0(cols), z(hidden);
  for (int64_t t = 0; t < tokens; ++t) {
    for (double& v : z) v = normal(random);
    for (int64_t j = 0; j < cols; ++j) {
      double v = normal(random);
      for (int64_t h = 0; h < hidden; ++h) v += z[h] * mix[h * cols + j] / std::sqrt(hidden);
      x[j] = v * strength[j];
      x0[j] = x[j] + 0.1 * strength[j] * normal(random);
    }
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        gram[i * cols + j] += x[i] * x[j] / static_cast<double>(tokens);
        drift[i * cols + j] += (x0[i] - x[i]) * x[j] / static_cast<double>(tokens);
      }
    }
  }
  std::copy(gram.begin(), gram.end(), p.gram.begin());
  std::copy(drift.begin(), drift.end(), p.drift.begin());
  return p;
}

}  // namespace halftone
