// LLM.int8() against its definition in f64 (kernel/ops.h) and against bitsandbytes' products, on
// every instruction set of this processor, with and without its dot products of bytes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "base/half.h"
#include "grid/grouped.h"
#include "kernel/cpu/cpu_ops.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

using Floats = std::vector<float>;
using Kind = Error::Kind;

// Codes of any value, -128 too, which bitsandbytes does not write.
Tensor RandomRows(int64_t rows, int64_t cols, uint32_t seed) {
  const Grid& grid = *FindGrid("int8:row:absmax", cols);
  std::mt19937 engine(seed);
  std::vector<uint8_t> bytes(rows * grid.RowBytes(cols));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine());
  std::uniform_real_distribution<float> scale(0.01f, 3.0f);
  for (int64_t r = 0; r < rows; ++r) {
    StoreReal(Real::kF32, scale(engine), bytes.data() + r * grid.RowBytes(cols));
  }
  return MakeTensor("w", grid, {rows, cols}, std::move(bytes));
}

// Mostly small, one in twenty beyond a threshold of 6.
Floats RandomTokens(int64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Floats x(n);
  for (float& v : x) v = normal(engine) * (engine() % 20 == 0 ? 20.0f : 1.0f);
  return x;
}

struct Definition {
  std::vector<double> y;
  double magnitude = 0;  // of the largest sum's terms
  int64_t outliers = 0;
};

Definition Define(const Tensor& w, const float* x, float threshold) {
  const Floats decoded = Decode(w);
  const int64_t cols = w.cols();
  std::vector<double> half(cols), inside(cols);
  Definition d;
  double largest = 0;
  for (int64_t i = 0; i < cols; ++i) {
    half[i] = F16ToF32(F32ToF16(x[i]));
    const bool out = threshold > 0 && std::fabs(half[i]) >= threshold;
    d.outliers += out;
    if (!out) largest = std::max(largest, std::fabs(half[i]));
  }
  for (int64_t r = 0; r < w.rows(); ++r) {
    double y = 0, magnitude = 0;
    for (int64_t i = 0; i < cols; ++i) {
      const bool out = threshold > 0 && std::fabs(half[i]) >= threshold;
      const double value = out           ? x[i]
                           : largest > 0 ? std::nearbyint(half[i] * 127 / largest) * largest / 127
                                         : 0;
      y += value * decoded[r * cols + i];
      magnitude += std::fabs(value * decoded[r * cols + i]);
    }
    d.y.push_back(y);
    d.magnitude = std::max(d.magnitude, magnitude);
  }
  return d;
}

class Int8Test : public testing::TestWithParam<std::tuple<Isa, int>> {
 protected:
  void SetUp() override {
    const auto [isa, threads] = GetParam();
    if (!IsaAvailable(isa)) GTEST_SKIP() << "this processor lacks " << IsaName(isa);
    ops_ = std::make_unique<CpuOps>(threads, isa);
  }

  Floats Run(const Tensor& w, float threshold, const Floats& x) {
    const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols();
    Floats y(tokens * w.rows(), 1234.5f);
    ops_->MatMul(*ops_->PrepareInt8(w, threshold), x.data(), tokens, y.data());
    return y;
  }

  std::unique_ptr<CpuOps> ops_;
};

TEST_P(Int8Test, IsTheDefinition) {
  for (const auto& [rows, cols, tokens] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                           {64, 64, 1},
                                           {65, 3, 2},
                                           {130, 77, 7},
                                           {64, 256, 13},
                                           {200, 530, 3}}) {
    for (const float threshold : {0.0f, 6.0f, 0.5f}) {
      const Tensor w = RandomRows(rows, cols, 1);
      const Floats x = RandomTokens(tokens * cols, 2);
      const Floats y = Run(w, threshold, x);
      for (int64_t t = 0; t < tokens; ++t) {
        const Definition d = Define(w, &x[t * cols], threshold);
        EXPECT_TRUE(cols < 64 || (threshold > 0) == (d.outliers > 0));
        for (int64_t r = 0; r < rows; ++r) {
          ASSERT_NEAR(y[t * rows + r], d.y[r], 1e-6 * d.magnitude)
              << rows << "x" << cols << " token " << t << " row " << r << " " << threshold;
        }
      }
    }
  }
}

// 5.999 is 6 in half precision; what is out does not stretch the steps of the rest.
TEST_P(Int8Test, TakesOutByHalfPrecision) {
  const Grid& grid = *FindGrid("int8:row:absmax", 4);
  std::vector<uint8_t> block(grid.RowBytes(4));
  const uint8_t codes[] = {128 + 1, 128 + 10, 128 - 100, 128 + 127};
  PackGroupedBlock(grid, 127.0f, 0, codes, block.data());
  const Tensor w = MakeTensor("w", grid, {1, 4}, std::move(block));
  const float half = F16ToF32(F32ToF16(1.27f));
  EXPECT_NEAR(Run(w, 6, {5.999f, 0, 1.27f, 0})[0], 5.999 - 100 * half, 1e-4);
  EXPECT_NEAR(Run(w, 6, {5.99f, 0, 1.27f, 0})[0], (127 - 100 * 27) * 5.98828125 / 127, 1e-4);
  EXPECT_NEAR(Run(w, 6, {-6, 50, 0, 0})[0], -6 + 500, 1e-3);
  EXPECT_NEAR(Run(w, 0, {-6, 50, 0, 0})[0], -15 * 50.0 / 127 + 500, 1e-3);
  // Ties go to even: 0.5 and 1.5 of 127 steps, the largest being 127 of them.
  EXPECT_NEAR(Run(w, 0, {0.5f, 1.5f, 2.5f, 127})[0], 0 + 20 - 200 + 127.0 * 127, 1e-2);
}

// testdata/make_int8_golden.py.
TEST_P(Int8Test, IsWhatBitsandbytesComputes) {
  constexpr int64_t kRows = 5, kCols = 150;
  const auto hashed = [](uint64_t index) {
    return static_cast<int>((index * 2654435761u >> 7) % 4096);
  };
  const Grid& grid = *FindGrid("int8:row:absmax", kCols);
  std::vector<uint8_t> blocks(kRows * grid.RowBytes(kCols));
  for (int64_t r = 0; r < kRows; ++r) {
    uint8_t codes[kCols];
    for (int64_t c = 0; c < kCols; ++c) {
      codes[c] = static_cast<uint8_t>(hashed(r * kCols + c) % 255 + 1);
    }
    PackGroupedBlock(grid, 0.5f + static_cast<float>(r) / 8, 0, codes,
                     blocks.data() + r * grid.RowBytes(kCols));
  }
  const Tensor w = MakeTensor("w", grid, {kRows, kCols}, std::move(blocks));
  std::ifstream file(SourcePath("src/kernel/cpu/testdata/int8_golden.txt"));
  float threshold;
  int token, lines = 0;
  for (; file >> threshold >> token; ++lines) {
    Floats x(kCols);
    for (int64_t c = 0; c < kCols; ++c) {
      const bool zero = token == 3 && c % 2 == 0;
      x[c] = zero ? 0 : static_cast<float>(hashed(70000 + token * kCols + c) - 2048) / 256;
    }
    for (const float y : Run(w, threshold, x)) {
      float expected;
      ASSERT_TRUE(file >> expected);
      // Its 6.200124e-05 for 1 / 127^2 is 2e-5 too large; a code more or less were 0.03.
      EXPECT_NEAR(y, expected, 2e-3) << threshold << " " << token;
    }
  }
  EXPECT_EQ(lines, 12);
}

TEST_P(Int8Test, ZerosAndTheSmallest) {
  const Tensor w = RandomRows(70, 40, 3);
  for (const float v : Run(w, 6, Floats(80))) EXPECT_EQ(v, 0);
  Floats tiny(40, 0x1p-24f);  // the smallest half; half of it is a tie, to zero
  const Floats y = Run(w, 6, tiny);
  const Definition d = Define(w, tiny.data(), 6);
  for (int64_t r = 0; r < 70; ++r) EXPECT_NEAR(y[r], d.y[r], 1e-6 * d.magnitude);
  for (const float v : Run(w, 0, Floats(40, 0x1p-25f))) EXPECT_EQ(v, 0);
  EXPECT_NEAR(Run(w, 0, Floats(40, 1e30f))[5], Run(w, 0, Floats(40, 65504))[5], 0) << "no infinity";
}

TEST_P(Int8Test, WhatIsNotFiniteMakesItsTokenNaN) {
  const Tensor w = RandomRows(70, 37, 5);
  for (const float threshold : {0.0f, 6.0f}) {
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      Floats x = RandomTokens(3 * 37, 7);
      const Floats before = Run(w, threshold, x);
      x[37 + 36] = bad;
      const Floats y = Run(w, threshold, x);
      for (int64_t r = 0; r < 70; ++r) {
        EXPECT_TRUE(std::isnan(y[70 + r]));
        EXPECT_EQ(y[r], before[r]);
        EXPECT_EQ(y[140 + r], before[140 + r]);
      }
    }
  }
}

TEST_P(Int8Test, DependsOnNeitherBatchNorThreadsNorInstructions) {
  const int64_t rows = 400, cols = 333, tokens = 29;
  const Tensor w = RandomRows(rows, cols, 11);
  const Floats x = RandomTokens(tokens * cols, 13);
  const Floats y = Run(w, 6, x);
  for (int64_t t = 0; t < tokens; ++t) {
    const Floats one = Run(w, 6, Floats(&x[t * cols], &x[(t + 1) * cols]));
    EXPECT_TRUE(std::equal(one.begin(), one.end(), &y[t * rows])) << t;
  }
  CpuOps plain(1, Isa::kScalar);
  Floats expected(y.size());
  plain.MatMul(*plain.PrepareInt8(w, 6), x.data(), tokens, expected.data());
  EXPECT_EQ(y, expected);
}

// The longest rows that are accepted, at the ends of what codes hold: 2^17 * 128 * 127.
TEST_P(Int8Test, SumsOfTheLongestRowsAreExact) {
  const int64_t cols = Int8Weights::kMaxCols;
  const Grid& grid = *FindGrid("int8:row:absmax", cols);
  std::vector<uint8_t> blocks(2 * grid.RowBytes(cols));
  const std::vector<uint8_t> low(cols, 0), high(cols, 255);
  PackGroupedBlock(grid, 127, 0, low.data(), blocks.data());
  PackGroupedBlock(grid, 127, 0, high.data(), blocks.data() + grid.RowBytes(cols));
  const Tensor w = MakeTensor("w", grid, {2, cols}, std::move(blocks));
  const Floats y = Run(w, 0, Floats(cols, 1.0f));
  EXPECT_NEAR(y[0], -128.0 * static_cast<double>(cols), 4);
  EXPECT_NEAR(y[1], 127.0 * static_cast<double>(cols), 4);
  ExpectError(Kind::kUnsupported, "at most 131072 weights",
              [&] { ops_->PrepareInt8(RandomRows(1, cols + 1, 1), 6); });
}

TEST_P(Int8Test, RefusesOtherMatrices) {
  for (const char* name : {"nf4:g64", "int8:row", "int8:g64"}) {
    const Grid& grid = *FindGrid(name, 64);
    const Tensor w = MakeTensor("w", grid, {1, 64}, std::vector<uint8_t>(grid.RowBytes(64)));
    ExpectError(Kind::kUnsupported, "8-bit rows", [&] { ops_->PrepareInt8(w, 6); });
  }
  for (const float threshold : {-1.0f, NAN}) {
    ExpectError(Kind::kUsage, "threshold",
                [&] { ops_->PrepareInt8(RandomRows(1, 8, 1), threshold); });
  }
}

INSTANTIATE_TEST_SUITE_P(All, Int8Test,
                         testing::Combine(testing::ValuesIn(BuiltIsas()), testing::Values(1, 3)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "Threads" +
                                  std::to_string(std::get<1>(info.param));
                         });

// A processor with dot products of bytes would leave the others' kernel untested.
TEST(Int8OpsTest, KernelsWithoutDotProductsOfBytesGiveTheSameSums) {
  const int64_t cols = 150;
  ThreadPool pool(1);
  const Int8Weights w = PackInt8(RandomRows(64, cols, 17), pool);
  const Floats x = RandomTokens(kInt8Tokens * cols, 19);
  for (const Isa isa : BuiltIsas()) {
    if (!IsaAvailable(isa)) continue;
    const Int8Ops& ops = Int8OpsFor(isa, false);
    Int8Batch batch;
    batch.stride = (w.words + 15) / 16 * 16;
    batch.tokens.resize(kInt8Tokens);
    batch.codes.resize(kInt8Tokens * batch.stride);
    batch.even = batch.odd = batch.codes;
    for (int t = 0; t < kInt8Tokens; ++t) ops.round(&x[t * cols], cols, 6, t, batch);
    const auto* codes = reinterpret_cast<const int8_t*>(batch.codes.data());
    for (int count = 1; count <= kInt8Tokens; ++count) {
      std::vector<int32_t> sums(kInt8Tokens * 64);
      ops.dot(w.panel(0), w.words, batch, 0, count, sums.data());
      for (int64_t at = 0; at < count * 64; ++at) {
        int32_t expected = 0;
        for (int64_t c = 0; c < cols; ++c) {
          expected += codes[at / 64 * batch.stride * 4 + c] *
                      w.panel(0)[(c / 4 * 64 + at % 64) * 4 + c % 4];
        }
        ASSERT_EQ(sums[at], expected) << IsaName(isa) << " " << count << " " << at;
      }
    }
  }
}

}  // namespace
}  // namespace halftone
