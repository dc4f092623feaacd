// Error feedback against the paper's own recursion in f64, and against what it must beat.

#include "method/feedback.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "grid/grouped.h"
#include "method/factor.h"
#include "method/gram_error.h"
#include "method/method.h"
#include "method/round_rows.h"
#include "method/testing/problem.h"

namespace halftone {
namespace {

TEST(FactorTest, MultipliesBackToTheDampedMatrix) {
  const Problem p = MakeProblem(1, 150, 1);  // more than one panel, and a rest
  const int64_t n = p.cols;
  ThreadPool pool(2);
  const auto factor = FactorGram(p.gram, n, 0.01, pool);
  ASSERT_TRUE(factor);
  EXPECT_EQ(factor->damping, 0.01);
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += p.gram[i * n + i] / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = std::max(i, j); k < n; ++k) {
        const double a = i == k ? 1.0 : factor->u[i * n + k],
                     b = j == k ? 1.0 : factor->u[j * n + k];
        sum += a * b * factor->d[k];
      }
      const double expected = p.gram[i * n + j] + (i == j ? 0.01 * mean : 0.0);
      EXPECT_NEAR(sum, expected, 1e-4 * std::sqrt(p.gram[i * n + i] * p.gram[j * n + j]) + 1e-6);
    }
  }
}

TEST(FactorTest, DampsMoreWhereItMustAndGivesUpWhereNothingHelps) {
  ThreadPool pool(1);
  // Eigenvalues 2 and -0.05: 1 % of the mean diagonal is not enough, 10 % is.
  const std::vector<float> indefinite = {0.975f, 1.025f, 1.025f, 0.975f};
  const auto factor = FactorGram(indefinite, 2, 0.01, pool);
  ASSERT_TRUE(factor);
  EXPECT_NEAR(factor->damping, 0.1, 1e-12);
  EXPECT_FALSE(FactorGram(std::vector<float>(4), 2, 0.01, pool));
  EXPECT_FALSE(FactorGram(std::vector<float>{1, NAN, NAN, 1}, 2, 0.01, pool));
  EXPECT_FALSE(FactorGram(std::vector<float>{1, -9, -9, 1}, 2, 0.01, pool));
}

// GPTQ as the paper writes it (Frantar et al. 2022, algorithm 1) in f64: the upper Cholesky factor
// of the inverse, each column's error spread over the columns that remain.
std::vector<double> InverseCholesky(const Problem& p, double damping) {
  const int64_t n = p.cols;
  std::vector<double> a(p.gram.begin(), p.gram.end()), inverse(n * n);
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += a[i * n + i] / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) a[i * n + i] += damping * mean;
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (int64_t i = 0; i < n; ++i) {  // Gauss-Jordan
    const double pivot = a[i * n + i];
    for (int64_t k = 0; k < n; ++k) a[i * n + k] /= pivot, inverse[i * n + k] /= pivot;
    for (int64_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double f = a[r * n + i];
      for (int64_t k = 0; k < n; ++k) {
        a[r * n + k] -= f * a[i * n + k];
        inverse[r * n + k] -= f * inverse[i * n + k];
      }
    }
  }
  std::vector<double> upper(n * n);  // inverse = upper^T upper
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double s = inverse[i * n + j];
      for (int64_t k = 0; k < i; ++k) s -= upper[k * n + i] * upper[k * n + j];
      upper[i * n + j] = i == j ? std::sqrt(s) : s / upper[i * n + i];
    }
  }
  return upper;
}

TEST(FeedbackTest, RoundsAsThePaperOnceTheParametersAreGiven) {
  const Problem p = MakeProblem(9, 96, 2);
  const int64_t n = p.cols;
  ThreadPool pool(2);
  const Grid& grid = *FindGrid("int4:g32:f32", n);
  const auto factor = FactorGram(p.gram, n, 0.01, pool);
  ASSERT_TRUE(factor);
  FeedbackProblem problem{p.weights, p.rows, &*factor, p.gram, {}, 0};
  std::vector<uint8_t> blocks(p.rows * grid.RowBytes(n));
  RoundWithFeedback(problem, grid, {.units = 1, .sweeps = 0}, pool, blocks.data());

  const std::vector<double> upper = InverseCholesky(p, 0.01);
  int64_t different = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    std::vector<double> w(p.weights.begin() + r * n, p.weights.begin() + (r + 1) * n);
    std::vector<float> ours(n);
    const uint8_t* row = blocks.data() + r * grid.RowBytes(n);
    grid.Decode(row, n, ours.data());
    for (int64_t j = 0; j < n; ++j) {
      float scale;
      std::memcpy(&scale, row + j / grid.block * grid.bytes, sizeof scale);
      const double q = scale * std::clamp(std::nearbyint(w[j] / scale), -8.0, 7.0);
      const double error = (w[j] - q) / upper[j * n + j];
      // On a tie either code is right, and what follows then depends on ours.
      different += std::fabs(q - ours[j]) > 0.5 * std::fabs(scale);
      for (int64_t k = j; k < n; ++k) w[k] -= error * upper[j * n + k];
    }
  }
  EXPECT_LE(different, p.rows * n / 200);
}

class EveryScalarGrid : public testing::TestWithParam<const Grid*> {};

std::vector<const Grid*> ScalarGrids() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (grid->scalar != nullptr) grids.push_back(grid);
  }
  for (const Grid* grid : UsualGroupedGrids()) grids.push_back(grid);
  return grids;
}

// An empirical gate: on correlated inputs every grid gains from feedback, clearly.
TEST_P(EveryScalarGrid, BeatsRoundToNearest) {
  const Grid& grid = *GetParam();
  const Problem p = MakeProblem(20, 256, 3);
  ThreadPool pool(2);
  const uint64_t bytes = p.rows * grid.RowBytes(p.cols);
  std::vector<uint8_t> rtn(bytes), imatrix(bytes), gptq(bytes), alone(bytes);
  std::vector<float> importance(p.cols);
  for (int64_t i = 0; i < p.cols; ++i) importance[i] = p.gram[i * p.cols + i];
  RoundRows(p.weights, p.rows, p.cols, {}, grid, pool, rtn.data());
  RoundRows(p.weights, p.rows, p.cols, importance, grid, pool, imatrix.data());
  Statistics statistics;
  statistics.gram = p.gram;
  const Method& method = MethodNamed("gptq");
  const Rounding rounding =
      method.round(p.weights, p.rows, p.cols, statistics, grid, pool, gptq.data());
  EXPECT_EQ(rounding.note, "");
  EXPECT_EQ(rounding.damping, 0.01);
  const auto error = [&](const std::vector<uint8_t>& q) {
    return OutputError(p.weights, p.rows, grid, q.data(), p.gram, {}, 0, pool);
  };
  EXPECT_LT(error(gptq), 0.7 * error(rtn)) << grid.name;
  EXPECT_LT(error(gptq), 0.9 * error(imatrix)) << grid.name;

  ThreadPool one(1);
  method.round(p.weights, p.rows, p.cols, statistics, grid, one, alone.data());
  EXPECT_EQ(gptq, alone) << "depends on threads";
}

INSTANTIATE_TEST_SUITE_P(All, EveryScalarGrid, testing::ValuesIn(ScalarGrids()),
                         [](const auto& info) {
                           std::string name(info.param->name);
                           for (char& c : name) c = c == ':' ? '_' : c;
                           return name;
                         });

TEST(GramErrorTest, IsTheDefinition) {
  const Problem p = MakeProblem(5, 64, 4);
  ThreadPool pool(2);
  const Grid& grid = GridNamed("q4_0");
  std::vector<uint8_t> blocks(p.rows * grid.RowBytes(p.cols));
  RoundRows(p.weights, p.rows, p.cols, {}, grid, pool, blocks.data());
  std::vector<float> q(p.weights.size());
  grid.Decode(blocks.data(), std::ssize(q), q.data());
  double error = 0, cross = 0, power = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t i = 0; i < p.cols; ++i) {
      for (int64_t j = 0; j < p.cols; ++j) {
        const double wi = p.weights[r * p.cols + i], wj = p.weights[r * p.cols + j];
        const double ei = wi - q[r * p.cols + i], ej = wj - q[r * p.cols + j];
        error += ei * p.gram[i * p.cols + j] * ej;
        power += wi * p.gram[i * p.cols + j] * wj;
        cross += wi * p.drift[i * p.cols + j] * ej;
      }
    }
  }
  const auto ours = [&](float share) {
    return OutputError(p.weights, p.rows, grid, blocks.data(), p.gram, p.drift, share, pool);
  };
  EXPECT_NEAR(ours(0), error, 1e-4 * error);
  EXPECT_NEAR(ours(0.5f), error + cross, 1e-4 * (error + std::fabs(cross)));
  EXPECT_NEAR(OutputPower(p.weights, p.rows, p.gram, pool), power, 1e-4 * power);
}

// With the drift made good the layer's output is nearer to the original's.
TEST(BestTest, MakesGoodWhatTheInputsLost) {
  const Problem p = MakeProblem(24, 128, 5);
  ThreadPool pool(2);
  const Grid& grid = *FindGrid("int4:g32", p.cols);
  const uint64_t bytes = p.rows * grid.RowBytes(p.cols);
  std::vector<uint8_t> gptq(bytes), best(bytes);
  Statistics statistics;
  statistics.gram = statistics.held_gram = p.gram;
  statistics.drift = statistics.held_drift = p.drift;
  MethodNamed("gptq").round(p.weights, p.rows, p.cols, statistics, grid, pool, gptq.data());
  MethodNamed("best").round(p.weights, p.rows, p.cols, statistics, grid, pool, best.data());
  const auto error = [&](const std::vector<uint8_t>& q) {
    return OutputError(p.weights, p.rows, grid, q.data(), p.gram, p.drift, 1, pool);
  };
  EXPECT_LT(error(best), error(gptq));
}

// A Gram matrix of other inputs misleads the feedback; the held-out tokens tell.
TEST(BestTest, ABadGramMatrixDoesNotLoseToImportances) {
  const Problem p = MakeProblem(24, 128, 6);
  // Feedback along correlations that are not there, in the opposite direction of the true ones.
  std::vector<float> wrong(p.gram);
  for (int64_t i = 0; i < p.cols; ++i) {
    for (int64_t j = 0; j < p.cols; ++j) {
      if (i != j) wrong[i * p.cols + j] = -0.9f * wrong[i * p.cols + j];
    }
  }
  ThreadPool pool(2);
  const Grid& grid = GridNamed("q4_0");
  const uint64_t bytes = p.rows * grid.RowBytes(p.cols);
  std::vector<uint8_t> best(bytes), plain(bytes);
  Statistics statistics;
  statistics.gram = wrong;
  statistics.held_gram = p.gram;
  MethodNamed("best").round(p.weights, p.rows, p.cols, statistics, grid, pool, best.data());
  std::vector<float> importance(p.cols);
  for (int64_t i = 0; i < p.cols; ++i) importance[i] = wrong[i * p.cols + i];
  RoundRows(p.weights, p.rows, p.cols, importance, grid, pool, plain.data());
  const auto error = [&](const std::vector<uint8_t>& q) {
    return OutputError(p.weights, p.rows, grid, q.data(), p.gram, {}, 0, pool);
  };
  EXPECT_LE(error(best), error(plain));
}

TEST(GptqTest, FallsBackAndSaysSo) {
  const Problem p = MakeProblem(4, 64, 7);
  ThreadPool pool(1);
  const Grid& grid = GridNamed("q4_0");
  std::vector<uint8_t> blocks(p.rows * grid.RowBytes(p.cols)), rtn(blocks.size());
  const Method& gptq = MethodNamed("gptq");
  RoundRows(p.weights, p.rows, p.cols, {}, grid, pool, rtn.data());
  EXPECT_NE(gptq.round(p.weights, p.rows, p.cols, {}, grid, pool, blocks.data()).note, "");
  EXPECT_EQ(blocks, rtn);
  for (const float bad : {0.0f, NAN, INFINITY}) {
    const std::vector<float> gram(p.cols * p.cols, bad);
    Statistics statistics;
    statistics.gram = gram;
    const Rounding r = gptq.round(p.weights, p.rows, p.cols, statistics, grid, pool, blocks.data());
    EXPECT_NE(r.note.find("positive definite"), std::string::npos) << bad;
    EXPECT_EQ(blocks, rtn);
  }
}

}  // namespace
}  // namespace halftone
