// Products with rounded activations against their definition in f64, for every grid that has them
// on every instruction set of this processor.

#include "kernel/cpu/rounded.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "grid/grouped.h"
#include "kernel/cpu/aligned.h"
#include "kernel/cpu/cpu_ops.h"
#include "kernel/cpu/decode.h"
#include "tensor/tensor.h"

namespace halftone {
namespace {

using Floats = std::vector<float>;

Floats Random(int64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Floats values(n);
  for (float& v : values) v = normal(engine);
  // Some far larger than the others, which makes their groups large.
  for (int64_t i = 5; i < n; i += 777) values[i] *= 40;
  return values;
}

// Any bytes, which meets every code, drawn again until they decode to numbers of some moderation.
Tensor AnyBytes(const Grid& grid, int64_t rows, int64_t cols, uint32_t seed) {
  std::vector<uint8_t> bytes(rows * grid.RowBytes(cols));
  std::mt19937 engine(seed);
  Floats decoded(grid.block);
  for (size_t at = 0; at < bytes.size(); at += grid.bytes) {
    do {
      for (int i = 0; i < grid.bytes; ++i) bytes[at + i] = static_cast<uint8_t>(engine());
      grid.Decode(bytes.data() + at, grid.block, decoded.data());
    } while (!std::ranges::all_of(decoded, [](float v) { return std::fabs(v) < 1e4f; }));
  }
  return MakeTensor("w", grid, {rows, cols}, std::move(bytes));
}

std::vector<const Grid*> Grids() {
  std::vector<const Grid*> grids(AllGrids().begin(), AllGrids().end());
  for (const Grid* grid : UsualGroupedGrids()) grids.push_back(grid);
  for (const char* name : {"int4:g32", "int4:g64:asym", "int8:g32:asym", "nf4:g32", "fp4:g128"}) {
    grids.push_back(&GridNamed(name));
  }
  return grids;
}

// x as the rounding of one token gives it back: what the definition of rounded.h says.
Floats Rounded(const Floats& x) {
  Floats rounded(x.size());
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const double rms = std::sqrt(squares / static_cast<double>(x.size()));
  for (size_t begin = 0; begin < x.size(); begin += 256) {
    const size_t end = std::min(x.size(), begin + 256);
    Floats largest(8);
    for (size_t i = begin; i < end; ++i) {
      float& own = largest[(i - begin) / 32];
      own = std::max(own, std::fabs(x[i]));
    }
    Floats ascending = largest;
    std::ranges::sort(ascending);
    float ordinary = 0;
    for (const float m : largest) {
      const bool beside = ascending[3] > 0 && m > kLargeBeside * ascending[3];
      if (!beside && m <= kLarge * rms) ordinary = std::max(ordinary, m);
    }
    const float scale = std::max(ordinary / 127, ascending[7] / 16256);
    if (scale == 0) continue;
    for (size_t i = begin; i < end; ++i) rounded[i] = std::nearbyint(x[i] * (1 / scale)) * scale;
  }
  return rounded;
}

class RoundedTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!IsaAvailable(GetParam()) || !HasRoundedOps(GetParam())) {
      GTEST_SKIP() << "this processor has no integer products for " << IsaName(GetParam());
    }
    ops_ = std::make_unique<CpuOps>(2, GetParam(), Activations::kInt8);
  }

  bool Has(const Grid& grid) const { return KernelsFor(grid, GetParam()).rounded.dot != nullptr; }

  void Check(const Tensor& w, int64_t tokens, uint32_t seed) {
    const int64_t rows = w.rows(), cols = w.cols();
    const Floats weights = Decode(w), x = Random(tokens * cols, seed);
    Floats y(tokens * rows, NAN);
    ops_->MatMul(*ops_->Prepare(w), x.data(), tokens, y.data());
    // Sums begin at what codes are above their levels, up to 128 times those. What the grid rounds
    // its weights to last is left out; levels that are not integers are rounded to 1/64 of the
    // largest or less, which no weight is above.
    const double tolerance = w.grid->grouped == nullptr ? 5e-6 : Tolerance(*w.grid->grouped);
    const bool integers =
        w.grid->grouped == nullptr || w.grid->grouped->levels == GroupedLevels::kInteger;
    for (int64_t t = 0; t < tokens; ++t) {
      const Floats token = Rounded({x.begin() + t * cols, x.begin() + (t + 1) * cols});
      for (int64_t r = 0; r < rows; ++r) {
        double expected = 0, magnitude = 0, cut = 0;
        for (int64_t i = 0; i < cols; ++i) {
          const double product = static_cast<double>(token[i]) * weights[r * cols + i];
          expected += product;
          magnitude += std::fabs(product);
          if (!integers) cut += std::fabs(token[i]) * Scale(w, r, i) / 128;
        }
        ASSERT_NEAR(y[t * rows + r], expected, tolerance * magnitude + cut + 1e-30)
            << w.grid->name << " " << rows << "x" << cols << ", token " << t << " of " << tokens
            << ", row " << r;
      }
    }
  }

  static double Tolerance(const GroupedSpec& spec) {
    if (spec.value == Real::kBf16) return 0x1p-8;
    return spec.value == Real::kF16 ? 0x1p-10 : 5e-6;
  }
  // The largest magnitude that a weight of column i's group can have.
  static double Scale(const Tensor& w, int64_t r, int64_t i) {
    const uint8_t* block = w.row(r).data() + i / w.grid->block * w.grid->bytes;
    double largest = 0;
    for (const float level : LevelsOfCodes(*w.grid)) {
      largest = std::max<double>(largest, std::fabs(level));
    }
    return largest * std::fabs(LoadReal(w.grid->grouped->scale, block)) * w.grid->grouped->after;
  }

  std::unique_ptr<CpuOps> ops_;
};

TEST_P(RoundedTest, EveryGridAgreesWithItsDefinition) {
  int tried = 0;
  for (const Grid* grid : Grids()) {
    if (!Has(*grid)) continue;
    ++tried;
    const int64_t unit = grid->block;
    for (const int64_t cols : {unit, 3 * unit, (512 + unit - 1) / unit * unit}) {
      for (const int64_t rows : {1, 3, 70}) {
        const Tensor w = AnyBytes(*grid, rows, cols, 7);
        for (const int64_t tokens : {1, 2, 5, 8}) Check(w, tokens, 11);
      }
    }
  }
  EXPECT_GE(tried, 20);
}

TEST_P(RoundedTest, MoreTokensThanOneBlockOfThem) {
  Check(AnyBytes(GridNamed("q4_k"), 130, 768, 3), 600, 5);
}

TEST_P(RoundedTest, ActivationsOfZeroAndFarApart) {
  const int64_t cols = 512;
  const Tensor w = AnyBytes(GridNamed("q6_k"), 66, cols, 13);
  for (const int64_t tokens : {1, 6}) {
    Floats x = Random(tokens * cols, 17), y(tokens * 66), expected(tokens * 66);
    std::fill_n(x.begin(), 40, 0.0f);
    std::fill_n(x.begin() + 64, 32, 1e-44f);
    x[100] = 3e30f;
    ops_->MatMul(*ops_->Prepare(w), x.data(), tokens, y.data());
    for (const float v : y) ASSERT_TRUE(std::isfinite(v));
    x[200] = INFINITY;
    ops_->MatMul(*ops_->Prepare(w), x.data(), tokens, y.data());
    for (int64_t r = 0; r < 66; ++r) ASSERT_FALSE(std::isfinite(y[r])) << r;
  }
}

TEST_P(RoundedTest, MatricesTogetherGiveWhatEachGives) {
  const int64_t cols = 512;
  for (const char* second : {"q6_k", "bf16"}) {
    const auto a = ops_->Prepare(AnyBytes(GridNamed("q4_k"), 130, cols, 29));
    const auto b = ops_->Prepare(AnyBytes(GridNamed(second), 7, cols, 31));
    const auto c = ops_->Prepare(AnyBytes(GridNamed("q8_0"), 64, cols, 37));
    for (const int64_t tokens : {1, 9}) {
      const Floats x = Random(tokens * cols, 41);
      const Matrix* matrices[] = {a.get(), b.get(), c.get()};
      Floats alone[3], together[3];
      std::vector<MatrixProduct> products;
      for (int i = 0; i < 3; ++i) {
        alone[i].resize(tokens * matrices[i]->rows);
        together[i].resize(tokens * matrices[i]->rows, NAN);
        ops_->MatMul(*matrices[i], x.data(), tokens, alone[i].data());
        products.push_back({matrices[i], together[i].data()});
      }
      ops_->MatMulAll(products, x.data(), tokens);
      for (int i = 0; i < 3; ++i) ASSERT_EQ(alone[i], together[i]) << second << ", matrix " << i;
    }
  }
}

TEST_P(RoundedTest, ResultsDoNotDependOnThreads) {
  CpuOps one(1, GetParam(), Activations::kInt8), three(3, GetParam(), Activations::kInt8);
  for (const char* name : {"q4_0", "q5_k", "q3_k"}) {
    const Tensor w = AnyBytes(GridNamed(name), 300, 1024, 19);
    for (const int64_t tokens : {1, 40}) {
      const Floats x = Random(tokens * 1024, 23);
      Floats a(tokens * 300), b(tokens * 300);
      one.MatMul(*one.Prepare(w), x.data(), tokens, a.data());
      three.MatMul(*three.Prepare(w), x.data(), tokens, b.data());
      ASSERT_EQ(a, b) << name;
    }
  }
}

// The baseline has no integer products: elsewhere than on x86 these tests have nothing to run, and
// the one below holds there.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RoundedTest);
INSTANTIATE_TEST_SUITE_P(Isas, RoundedTest, testing::ValuesIn(BuiltIsas().subspan(1)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

TEST(RoundedOpsTest, WithoutIntegerProductsNothingIsRounded) {
  for (const Isa isa : BuiltIsas()) {
    if (!IsaAvailable(isa) || HasRoundedOps(isa)) continue;
    CpuOps exact(2, isa), asked(2, isa, Activations::kInt8);
    for (const char* name : {"q4_0", "q5_k", "int4:g64:asym"}) {
      const Tensor w = AnyBytes(GridNamed(name), 67, 512, 29);
      const Floats x = Random(5 * 512, 31);
      Floats a(5 * 67), b(5 * 67);
      exact.MatMul(*exact.Prepare(w), x.data(), 5, a.data());
      asked.MatMul(*asked.Prepare(w), x.data(), 5, b.data());
      EXPECT_EQ(a, b) << IsaName(isa) << " " << name;
    }
  }
}

}  // namespace
}  // namespace halftone
