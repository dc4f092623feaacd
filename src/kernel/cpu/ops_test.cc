// Every operation against its definition in f64, on every instruction set of this processor and
// several numbers of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "halftone/error.h"
#include "kernel/cpu/aligned.h"
#include "kernel/cpu/cpu_ops.h"
#include "kernel/cpu/testing/random.h"
#include "tensor/tensor.h"

namespace halftone {
namespace {

// Random weights on a grid. Plain floats are encoded; for all others any bytes will do, which meets
// every code, drawn again until they decode to numbers of some moderation.
Tensor RandomWeights(const Grid& grid, int64_t rows, int64_t cols, uint32_t seed) {
  std::vector<uint8_t> bytes(rows * grid.RowBytes(cols));
  if (grid.plain && grid.writable()) {
    const Floats values = Random(rows * cols, seed, 20.0f);
    grid.Encode(values.data(), rows * cols, nullptr, bytes.data());
  } else {
    std::mt19937 engine(seed);
    Floats decoded(grid.block);
    const float limit = grid.plain ? 1e30f : 1e4f;
    for (size_t at = 0; at < bytes.size(); at += grid.bytes) {
      do {
        for (int i = 0; i < grid.bytes; ++i) bytes[at + i] = static_cast<uint8_t>(engine());
        grid.Decode(bytes.data() + at, grid.block, decoded.data());
      } while (!std::ranges::all_of(decoded, [&](float v) { return std::fabs(v) < limit; }));
    }
  }
  return MakeTensor("w", grid, {rows, cols}, std::move(bytes));
}

class CpuOpsTest : public testing::TestWithParam<std::tuple<Isa, int>> {
 protected:
  void SetUp() override {
    const auto [isa, threads] = GetParam();
    if (!IsaAvailable(isa)) GTEST_SKIP() << "this processor lacks " << IsaName(isa);
    ops_ = std::make_unique<CpuOps>(threads, isa);
  }

  // Checks y = x w^T, the error being measured against the sum of magnitudes.
  void CheckMatMul(const Tensor& tensor, int64_t tokens, uint32_t seed) {
    const int64_t rows = tensor.rows(), cols = tensor.cols();
    const auto matrix = ops_->Prepare(tensor);
    const Floats w = Decode(tensor), x = Random(tokens * cols, seed);
    Floats y(tokens * rows, NAN);
    ops_->MatMul(*matrix, x.data(), tokens, y.data());
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < rows; ++r) {
        double expected = 0, magnitude = 0;
        for (int64_t i = 0; i < cols; ++i) {
          const double product = static_cast<double>(x[t * cols + i]) * w[r * cols + i];
          expected += product;
          magnitude += std::fabs(product);
        }
        ASSERT_NEAR(y[t * rows + r], expected, 1e-6 * magnitude + 1e-37)
            << tensor.grid->name << " " << rows << "x" << cols << ", token " << t << " of "
            << tokens << ", row " << r;
      }
    }
  }

  std::unique_ptr<CpuOps> ops_;
};

TEST_P(CpuOpsTest, MatMulOfEveryGridAgreesWithItsDecoding) {
  for (const Grid* grid : AllGrids()) {
    for (const int64_t rows : {1, 3, 17}) {
      for (const int64_t blocks : {1, 2, 5}) {
        const Tensor w = RandomWeights(*grid, rows, blocks * grid->block, 7);
        for (const int64_t tokens : {1, 2, 7}) CheckMatMul(w, tokens, 11);
      }
    }
  }
}

TEST_P(CpuOpsTest, MatMulOfAnyShape) {
  for (const Grid* grid : AllGrids()) {
    if (!grid->plain) continue;
    for (const int64_t cols : {1, 15, 33, 172}) {
      const Tensor w = RandomWeights(*grid, 13, cols, 3);
      for (const int64_t tokens : {1, 4, 33}) CheckMatMul(w, tokens, 5);
    }
  }
  const Tensor w = RandomWeights(GridNamed("q8_0"), 70, 64, 9);
  for (int64_t tokens = 1; tokens <= 33; ++tokens) CheckMatMul(w, tokens, 13);
  // More than one panel and more than one block of tokens.
  CheckMatMul(RandomWeights(GridNamed("q8_0"), 120, 2048, 17), 70, 19);
}

TEST_P(CpuOpsTest, MatMulDoesNotDependOnTheBatch) {
  const int64_t tokens = 45, rows = 50, cols = 288;
  const auto w = ops_->Prepare(RandomWeights(GridNamed("q8_0"), rows, cols, 21));
  const Floats x = Random(tokens * cols, 23);
  Floats all(tokens * rows), one(rows);
  ops_->MatMul(*w, x.data(), tokens, all.data());
  for (int64_t t = 0; t < tokens; ++t) {
    ops_->MatMul(*w, x.data() + t * cols, 1, one.data());
    for (int64_t r = 0; r < rows; ++r) {
      ASSERT_NEAR(one[r], all[t * rows + r], 2e-6 * std::sqrt(cols)) << t << " " << r;
    }
  }
}

TEST_P(CpuOpsTest, MatMulDoesNotDependOnTheThreads) {
  CpuOps single(1, std::get<Isa>(GetParam()));
  for (const int64_t tokens : {1, 40}) {
    const Tensor tensor = RandomWeights(GridNamed("q8_0"), 523, 512, 27);
    const Floats x = Random(tokens * 512, 29);
    Floats a(tokens * 523), b(tokens * 523);
    ops_->MatMul(*ops_->Prepare(tensor), x.data(), tokens, a.data());
    single.MatMul(*single.Prepare(tensor), x.data(), tokens, b.data());
    EXPECT_EQ(a, b);
  }
}

TEST_P(CpuOpsTest, PrepareRefusesWhatIsNoMatrix) {
  EXPECT_THROW(ops_->Prepare(MakeF32Tensor("norm", {4}, Floats(4))), Error);
}

TEST_P(CpuOpsTest, EmbedRowsDecodesTheAskedRows) {
  const int32_t ids[] = {4, 0, 4, 2};
  for (const Grid* grid : AllGrids()) {
    const int64_t cols = 3 * grid->block;
    const Tensor tensor = RandomWeights(*grid, 5, cols, 31);
    const Floats w = Decode(tensor);
    Floats y(4 * cols);
    ops_->EmbedRows(*ops_->Prepare(tensor), ids, y.data());
    for (int t = 0; t < 4; ++t) {
      for (int64_t i = 0; i < cols; ++i) {
        ASSERT_EQ(y[t * cols + i], w[ids[t] * cols + i]) << grid->name << " " << t << " " << i;
      }
    }
  }
}

TEST_P(CpuOpsTest, RmsNorm) {
  for (const int64_t width : {1, 7, 64, 172, 577}) {
    const int64_t tokens = 40;
    Floats x = Random(tokens * width, 41);
    const Floats weight = Random(width, 43);
    Floats y(x.size());
    ops_->RmsNorm(x.data(), weight.data(), 1e-5f, tokens, width, y.data());
    for (int64_t t = 0; t < tokens; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += std::pow(x[t * width + i], 2.0);
      const double scale = 1 / std::sqrt(sum / static_cast<double>(width) + 1e-5);
      for (int64_t i = 0; i < width; ++i) {
        const double expected = x[t * width + i] * scale * weight[i];
        ASSERT_NEAR(y[t * width + i], expected, 4e-7 * std::fabs(expected)) << width << " " << i;
      }
    }
    ops_->RmsNorm(x.data(), weight.data(), 1e-5f, tokens, width, x.data());
    EXPECT_EQ(x, y) << "in place, width " << width;
  }
}

TEST_P(CpuOpsTest, Rope) {
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves}) {
    for (const int64_t pairs : {1, 7, 24, 32}) {
      const int64_t tokens = 37, heads = 3, dim = 2 * pairs + (pairs == 24 ? 16 : 0);
      Floats frequency(pairs);
      for (int64_t i = 0; i < pairs; ++i) {
        frequency[i] = static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / pairs));
      }
      const Floats before = Random(tokens * heads * dim, 47);
      for (const int64_t position : {0, 1234}) {
        Floats x = before;
        std::vector<int64_t> positions(tokens);
        std::iota(positions.begin(), positions.end(), position);
        ops_->Rope(x.data(), positions, heads, dim, {style, frequency});
        for (int64_t at = 0; at < tokens * heads; ++at) {
          const float* in = before.data() + at * dim;
          Floats expected(in, in + dim);
          for (int64_t i = 0; i < pairs; ++i) {
            const float angle = static_cast<float>(position + at / heads) * frequency[i];
            const double c = std::cos(static_cast<double>(angle));
            const double s = std::sin(static_cast<double>(angle));
            const bool halves = style == RopeStyle::kHalves;
            const int64_t a = halves ? i : 2 * i, b = halves ? i + pairs : 2 * i + 1;
            expected[a] = static_cast<float>(in[a] * c - in[b] * s);
            expected[b] = static_cast<float>(in[b] * c + in[a] * s);
          }
          for (int64_t i = 0; i < dim; ++i) {
            ASSERT_NEAR(x[at * dim + i], expected[i], 1e-6) << pairs << " " << at << " " << i;
          }
        }
      }
    }
  }
}

TEST_P(CpuOpsTest, Elementwise) {
  for (const int64_t n : {1, 13, 64, 20001}) {
    const Floats x = Random(n, 67, 5.0f), y = Random(n, 71);
    Floats sum = x;
    ops_->Add(sum.data(), y.data(), n);
    Floats silu = x;
    ops_->SiluMultiply(silu.data(), y.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(sum[i], x[i] + y[i]);
      const double expected = x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * y[i];
      ASSERT_NEAR(silu[i], expected, 6e-7 * std::fabs(expected)) << n << " " << i;
    }
    Floats gelu = x, capped = x, scaled = x;
    ops_->GeluMultiply(gelu.data(), y.data(), n);
    ops_->SoftCap(capped.data(), 3, n);
    ops_->Scale(scaled.data(), 0.37f, n);
    for (int64_t i = 0; i < n; ++i) {
      const double v = x[i];
      const double z = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      // The definition cancels for negative numbers, here the exponential carries its own error.
      const double expected = v * (0.5 * (1 + std::tanh(z))) * y[i];
      ASSERT_NEAR(gelu[i], expected, 2e-6 * std::fabs(expected) + 1e-12) << n << " " << v;
      ASSERT_NEAR(capped[i], 3 * std::tanh(v / 3), 1e-6) << n << " " << v;
      ASSERT_EQ(scaled[i], x[i] * 0.37f);
    }
    Floats biased = x;
    biased.insert(biased.end(), x.begin(), x.end());
    ops_->AddBias(biased.data(), y.data(), 2, n);
    for (int64_t i = 0; i < 2 * n; ++i) ASSERT_EQ(biased[i], x[i % n] + y[i % n]);
  }
}

TEST_P(CpuOpsTest, ActivationsOfExtremes) {
  const Floats in = {-200, -88, -20, 0, 20, 200, -1e30f, 1e30f}, up(8, 1.0f);
  Floats silu = in, gelu = in, capped = in;
  ops_->SiluMultiply(silu.data(), up.data(), 8);
  ops_->GeluMultiply(gelu.data(), up.data(), 8);
  ops_->SoftCap(capped.data(), 30, 8);
  for (int i = 0; i < 8; ++i) {
    const double expected = in[i] / (1 + std::exp(-static_cast<double>(in[i])));
    ASSERT_NEAR(silu[i], expected, 6e-7 * std::fabs(expected) + 1e-36) << in[i];
    ASSERT_EQ(gelu[i], std::max(in[i], 0.0f)) << in[i];
    ASSERT_NEAR(capped[i], 30 * std::tanh(in[i] / 30.0), 1e-5) << in[i];
  }
}

// What is not finite stays so, that a broken weight be noticed.
TEST_P(CpuOpsTest, WhatIsNoNumberIsNotLost) {
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    for (const int64_t at : {0, 20, 36}) {
      Floats silu(37, 1.0f), up(37, 1.0f), router(37, 1.0f);
      silu[at] = router[at] = value;
      Floats gelu = silu, capped = silu;
      ops_->SiluMultiply(silu.data(), up.data(), 37);
      ops_->GeluMultiply(gelu.data(), up.data(), 37);
      ops_->SoftCap(capped.data(), 30, 37);
      for (int64_t i = 0; i < 37; ++i) {
        ASSERT_EQ(std::isfinite(silu[i]), i != at) << value;
        ASSERT_EQ(std::isfinite(gelu[i]), i != at) << value;
        ASSERT_EQ(std::isfinite(capped[i]), i != at) << value;
      }
      for (const bool normalized : {false, true}) {
        int32_t chosen[2];
        float weights[2];
        ops_->ChooseExperts(router.data(), 1, 37, 2, normalized, chosen, weights);
        EXPECT_FALSE(std::isfinite(weights[0])) << value << " " << at;
        EXPECT_FALSE(std::isfinite(weights[1])) << value << " " << at;
      }
    }
  }
}

TEST_P(CpuOpsTest, RopeHasAMagnitude) {
  const Floats frequency = {1.0f, 0.1f}, before = Random(3 * 8, 13);
  const std::vector<int64_t> positions = {0, 5, 6};
  Floats plain = before, large = before;
  ops_->Rope(plain.data(), positions, 1, 8, {RopeStyle::kHalves, frequency});
  ops_->Rope(large.data(), positions, 1, 8, {RopeStyle::kHalves, frequency, 1.25f});
  for (int64_t i = 0; i < 24; ++i) {
    // The other half of a head does not turn.
    ASSERT_NEAR(large[i], plain[i] * (i % 8 < 4 ? 1.25f : 1.0f), 1e-6) << i;
  }
}

// By sorting all of them, in f64.
TEST_P(CpuOpsTest, ChoosesExperts) {
  const int64_t tokens = 37, experts = 11, used = 4;
  Floats logits = Random(tokens * experts, 5, 2.0f);
  std::fill(logits.begin(), logits.begin() + experts, 1.0f);  // all the same
  for (const bool normalized : {false, true}) {
    std::vector<int32_t> chosen(tokens * used);
    Floats weights(tokens * used);
    ops_->ChooseExperts(logits.data(), tokens, experts, used, normalized, chosen.data(),
                        weights.data());
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = logits.data() + t * experts;
      std::vector<int32_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return row[a] > row[b]; });
      double sum = 0;
      for (int64_t j = 0; j < (normalized ? used : experts); ++j) {
        sum += std::exp(static_cast<double>(row[order[j]]));
      }
      std::sort(order.begin(), order.begin() + used);
      for (int64_t j = 0; j < used; ++j) {
        ASSERT_EQ(chosen[t * used + j], order[j]) << t;
        ASSERT_NEAR(weights[t * used + j], std::exp(static_cast<double>(row[order[j]])) / sum,
                    1e-6);
      }
    }
  }
}

TEST_P(CpuOpsTest, GathersAndSumsRows) {
  const int64_t width = 129, count = 40;
  const Floats x = Random(count * width, 91), weights = Random(count, 92);
  std::vector<int32_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = static_cast<int32_t>(i * 7 % count);
  Floats gathered(count * width), sums(count / 4 * width, NAN);
  ops_->GatherRows(x.data(), rows, width, gathered.data());
  ops_->SumRows(x.data(), rows, weights.data(), 4, width, sums.data());
  for (int64_t i = 0; i < count * width; ++i) {
    ASSERT_EQ(gathered[i], x[rows[i / width] * width + i % width]);
  }
  for (int64_t i = 0; i < count / 4 * width; ++i) {
    double expected = 0;
    for (int64_t j = i / width * 4; j < i / width * 4 + 4; ++j) {
      expected += static_cast<double>(weights[j]) * x[rows[j] * width + i % width];
    }
    ASSERT_NEAR(sums[i], expected, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuOpsTest,
                         testing::Combine(testing::ValuesIn(BuiltIsas()), testing::Values(1, 2, 3)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "Threads" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(IsaTest, TheVariableForcesOne) {
  for (const Isa isa : BuiltIsas()) {
    ::setenv("HALFTONE_ISA", std::string(IsaName(isa)).c_str(), 1);
    if (IsaAvailable(isa)) {
      EXPECT_EQ(ChooseIsa(), isa);
    } else {
      EXPECT_THROW(ChooseIsa(), Error);
    }
  }
#if defined(__aarch64__)
  EXPECT_EQ(IsaName(Isa::kScalar), "neon");
  ::setenv("HALFTONE_ISA", "avx2", 1);
#else
  ::setenv("HALFTONE_ISA", "neon", 1);
#endif
  EXPECT_THROW(MakeCpuOps(1), Error);
  ::unsetenv("HALFTONE_ISA");
  EXPECT_TRUE(IsaAvailable(ChooseIsa()));
}

TEST(AlignedTest, RefusesWhatNoMemoryHolds) {
  EXPECT_THROW(AllocateAligned(-1), Error);
  EXPECT_THROW(AllocateAligned(INT64_MAX), Error);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(AllocateAligned(3).get()) % 64, 0u);
}

}  // namespace
}  // namespace halftone
