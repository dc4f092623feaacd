// Transforms, clipping and the order of columns, against errors that are worked out here in f64.

#include "method/transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "grid/grouped.h"
#include "halftone/error.h"
#include "method/column_order.h"
#include "method/round_rows.h"
#include "method/testing/problem.h"

namespace halftone {
namespace {

using testing::Each;

// The error of the outputs if `weights` are what the layer should hold and `blocks` what it holds.
double OutputErrorF64(const Problem& p, const std::vector<float>& values) {
  double total = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t i = 0; i < p.cols; ++i) {
      const double ei = static_cast<double>(p.weights[r * p.cols + i]) - values[r * p.cols + i];
      for (int64_t j = 0; j < p.cols; ++j) {
        const double ej = static_cast<double>(p.weights[r * p.cols + j]) - values[r * p.cols + j];
        total += ei * p.gram[i * p.cols + j] * ej;
      }
    }
  }
  return total;
}

std::vector<float> Decoded(const Grid& grid, const std::vector<uint8_t>& blocks, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  grid.Decode(blocks.data(), n, values.data());
  return values;
}

std::vector<int32_t> Straight(int64_t n) {
  std::vector<int32_t> source(static_cast<size_t>(n));
  std::iota(source.begin(), source.end(), 0);
  return source;
}

// The model's error after scaling, rounding to nearest and scaling back.
double ScaledError(const Problem& p, const Grid& grid, const std::vector<float>& scales) {
  std::vector<float> scaled(p.weights);
  for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scales[i % p.cols];
  ThreadPool pool(1);
  std::vector<uint8_t> blocks(p.rows * grid.RowBytes(p.cols));
  RoundRows(scaled, p.rows, p.cols, {}, grid, pool, blocks.data());
  std::vector<float> back = Decoded(grid, blocks, std::ssize(scaled));
  for (size_t i = 0; i < back.size(); ++i) back[i] /= scales[i % p.cols];
  return OutputErrorF64(p, back);
}

TEST(AwqTest, ScalesLessenTheErrorOfTheOutputs) {
  const Problem p = MakeProblem(32, 256, 11);
  const Grid& grid = *FindGrid("int4:g128:asym", p.cols);
  const auto source = Straight(p.cols);
  ScaleProblem problem{{{p.weights, &grid, p.rows}}, p.cols, p.gram, source};
  ThreadPool one(1), two(2);
  const std::vector<float> scales = RecipeNamed("awq").transform->scales(problem, two);
  EXPECT_EQ(scales, RecipeNamed("awq").transform->scales(problem, one));
  EXPECT_LT(ScaledError(p, grid, scales),
            0.8 * ScaledError(p, grid, std::vector<float>(p.cols, 1.0f)));
}

TEST(AwqTest, ColumnsOfOneSourceAreScaledAlike) {
  const Problem p = MakeProblem(16, 128, 12);
  const Grid& grid = *FindGrid("int4:g32", p.cols);
  std::vector<int32_t> source(p.cols);
  for (int64_t i = 0; i < p.cols; ++i) source[i] = static_cast<int32_t>(i % 32);
  ScaleProblem problem{{{p.weights, &grid, p.rows}}, p.cols, p.gram, source};
  ThreadPool pool(1);
  const auto scales = RecipeNamed("awq").transform->scales(problem, pool);
  bool any = false;
  for (int64_t i = 0; i < p.cols; ++i) {
    EXPECT_EQ(scales[i], scales[i % 32]);
    any = any || scales[i] != 1;
  }
  EXPECT_TRUE(any);
}

TEST(AwqTest, LeavesAloneWhatItCannotJudge) {
  const Problem p = MakeProblem(4, 64, 13);
  const Grid& grid = GridNamed("q4_0");
  const auto source = Straight(p.cols);
  ThreadPool pool(1);
  for (const float bad : {0.0f, NAN, INFINITY}) {
    const std::vector<float> gram(p.cols * p.cols, bad);
    ScaleProblem problem{{{p.weights, &grid, p.rows}}, p.cols, gram, source};
    EXPECT_THAT(RecipeNamed("awq").transform->scales(problem, pool), Each(1.0f)) << bad;
  }
  ScaleProblem plain{{{p.weights, &F32Grid(), p.rows}}, p.cols, p.gram, source};
  EXPECT_THAT(RecipeNamed("awq").transform->scales(plain, pool), Each(1.0f));
}

// Each block's own error is never more than without clipping, and heavy tails gain.
TEST(ClipTest, CutsOnlyWhereThatHelps) {
  Problem p = MakeProblem(16, 256, 14);
  for (size_t i = 0; i < p.weights.size(); i += 97) p.weights[i] *= 8;
  // Without correlations between blocks the sum of the blocks' errors is the whole error.
  for (int64_t i = 0; i < p.cols; ++i) {
    for (int64_t j = 0; j < p.cols; ++j) {
      if (i / 64 != j / 64) p.gram[i * p.cols + j] = 0;
    }
  }
  const Grid& grid = *FindGrid("int3:g64", p.cols);
  ThreadPool pool(2);
  std::vector<uint8_t> plain(p.rows * grid.RowBytes(p.cols)), clipped(plain.size());
  RoundRows(p.weights, p.rows, p.cols, {}, grid, pool, plain.data());
  Statistics statistics;
  statistics.gram = p.gram;
  const Rounding rounding =
      MethodNamed("clip").round(p.weights, p.rows, p.cols, statistics, grid, pool, clipped.data());
  EXPECT_EQ(rounding.note, "");
  const int64_t n = p.rows * p.cols;
  EXPECT_LT(OutputErrorF64(p, Decoded(grid, clipped, n)),
            0.9 * OutputErrorF64(p, Decoded(grid, plain, n)));
  EXPECT_NE(
      MethodNamed("clip").round(p.weights, p.rows, p.cols, {}, grid, pool, clipped.data()).note,
      "");
  EXPECT_EQ(clipped, plain);
}

TEST(ColumnOrderTest, SortsByThePowerOfTheInputs) {
  const Problem p = MakeProblem(1, 512, 15);
  const auto power = [&](int32_t i) { return p.gram[i * p.cols + i]; };
  auto order = ByPower(p.gram, p.cols);
  EXPECT_TRUE(std::ranges::is_sorted(order, std::greater<>(), power));
  std::ranges::sort(order);
  EXPECT_EQ(order, Straight(p.cols));
}

TEST(ColumnOrderTest, MovesGroupsAndBlocksAsAWhole) {
  const Problem p = MakeProblem(1, 512, 16);
  const Grid& grid = GridNamed("q4_k");
  const int64_t group = grid.scalar->group, block = grid.block;
  const auto order = ByPowerOfGroups(p.gram, p.cols, grid);
  const auto sum = [&](int64_t at, int64_t size) {
    double total = 0;
    for (int64_t i = at; i < at + size; ++i) total += p.gram[order[i] * p.cols + order[i]];
    return total;
  };
  for (int64_t at = 0; at < p.cols; ++at) {
    EXPECT_EQ(order[at] / group, order[at / group * group] / group);
    EXPECT_EQ(order[at] / block, order[at / block * block] / block);
    if (at % group != 0) {
      EXPECT_GE(sum(at - 1, 1), sum(at, 1));
    } else if (at % block != 0) {
      EXPECT_GE(sum(at - group, group), sum(at, group));
    }
  }
  EXPECT_GE(sum(0, block), sum(block, block));
  auto sorted = order;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted, Straight(p.cols));
}

TEST(RecipeTest, ComposesTransformsAndMethods) {
  EXPECT_EQ(RecipeNamed("gptq").transform, nullptr);
  EXPECT_EQ(RecipeNamed("gptq").method->name, "gptq");
  EXPECT_EQ(RecipeNamed("awq").method->name, "clip");
  EXPECT_EQ(RecipeNamed("awq+rtn").method->name, "rtn");
  EXPECT_EQ(RecipeNamed("awq+rtn").needs(), Needs::kGram);
  EXPECT_EQ(RecipeNamed("awq+best").needs(), Needs::kDrift);
  EXPECT_EQ(RecipeNamed("imatrix").needs(), Needs::kMeanSquare);
  for (const char* bad : {"awg", "gptq+awq", "awq+", "awq+awq", "+", ""}) {
    EXPECT_THROW(RecipeNamed(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace halftone
