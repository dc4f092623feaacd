// Attention against its definition in f64, on what the cache's grid makes of keys and values, on
// every instruction set of this processor and several numbers of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "halftone/error.h"
#include "kernel/cpu/cpu_ops.h"
#include "kernel/cpu/testing/random.h"

namespace halftone {
namespace {

// Heads of `dim` numbers as the grid stores them, each padded with zeros to whole blocks.
Floats Rounded(const Grid& grid, const Floats& heads, int64_t dim) {
  const int64_t padded = (dim + grid.block - 1) / grid.block * grid.block;
  std::vector<uint8_t> blocks(grid.RowBytes(padded));
  Floats row(padded), out;
  for (size_t at = 0; at < heads.size(); at += dim) {
    std::fill(row.begin(), row.end(), 0.0f);
    std::copy_n(heads.begin() + at, dim, row.begin());
    grid.Encode(row.data(), padded, nullptr, blocks.data());
    grid.Decode(blocks.data(), padded, row.data());
    out.insert(out.end(), row.begin(), row.begin() + dim);
  }
  return out;
}

struct Sequence {
  AttentionShape shape;
  int64_t tokens;
  Floats q, k, v;
  ScoreForm form;

  Sequence(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, uint32_t seed = 53)
      : shape{heads, kv_heads, dim, 2, tokens},
        tokens(tokens),
        q(Random(tokens * heads * dim, seed, 2.0f)),
        k(Random(tokens * kv_heads * dim, seed + 6, 2.0f)),
        v(Random(tokens * kv_heads * dim, seed + 8)),
        form{1.0f / std::sqrt(static_cast<float>(dim))} {}

  int64_t width() const { return shape.heads * shape.head_dim; }
  int64_t kv_width() const { return shape.kv_heads * shape.head_dim; }

  // By the definition, in f64.
  std::vector<double> Expected(const Grid& grid) const {
    const auto [heads, kv_heads, dim, layers, context] = shape;
    const Floats keys = Rounded(grid, k, dim), values = Rounded(grid, v, dim);
    std::vector<double> out(tokens * heads * dim);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t kv = h * kv_heads / heads;
        const int64_t first = form.window > 0 ? std::max<int64_t>(0, t + 1 - form.window) : 0;
        std::vector<double> weights(t + 1, -INFINITY);
        for (int64_t p = first; p <= t; ++p) {
          weights[p] = 0;
          for (int64_t i = 0; i < dim; ++i) {
            weights[p] += static_cast<double>(q[(t * heads + h) * dim + i]) *
                          keys[(p * kv_heads + kv) * dim + i] * form.scale;
          }
          if (form.softcap > 0) weights[p] = form.softcap * std::tanh(weights[p] / form.softcap);
        }
        const double largest = *std::ranges::max_element(weights);
        double sum = 0;
        for (double& w : weights) sum += w = std::exp(w - largest);
        for (int64_t p = 0; p <= t; ++p) {
          for (int64_t i = 0; i < dim; ++i) {
            out[(t * heads + h) * dim + i] +=
                weights[p] / sum * values[(p * kv_heads + kv) * dim + i];
          }
        }
      }
    }
    return out;
  }

  // Runs tokens [from, to) of layer 1, layer 0 being filled with other numbers.
  void Run(CpuOps& ops, KvCache& cache, int64_t from, int64_t to, Floats& out) const {
    const int64_t n = to - from;
    const Floats other = Random(n * std::max(width(), kv_width()), 71);
    Floats ignored(n * width());
    const TokenRun run{&cache, from, n};
    ops.Attention({&run, 1}, 0, other.data(), other.data(), other.data(), form, ignored.data());
    ops.Attention({&run, 1}, 1, q.data() + from * width(), k.data() + from * kv_width(),
                  v.data() + from * kv_width(), form, out.data() + from * width());
  }

  Floats Run(CpuOps& ops, const Grid& grid, const std::vector<int64_t>& pieces) const {
    Floats out(q.size(), NAN);
    const auto cache = ops.MakeCache(shape, grid);
    int64_t at = 0;
    for (size_t i = 0; at < tokens; ++i) {
      const int64_t n = std::min(pieces[i % pieces.size()], tokens - at);
      Run(ops, *cache, at, at + n, out);
      at += n;
    }
    return out;
  }
};

class AttentionTest : public testing::TestWithParam<std::tuple<Isa, int>> {
 protected:
  void SetUp() override {
    const auto [isa, threads] = GetParam();
    if (!IsaAvailable(isa)) GTEST_SKIP() << "this processor lacks " << IsaName(isa);
    ops_ = std::make_unique<CpuOps>(threads, isa);
  }

  std::unique_ptr<CpuOps> ops_;
};

// Heads of one dimension, of odd ones, of more and of less than a group; groups of 1 to 12 heads.
const Sequence kSequences[] = {{1, 1, 1, 5},     {4, 4, 8, 33},   {9, 3, 64, 150}, {6, 2, 20, 140},
                               {2, 1, 128, 17},  {8, 2, 48, 300}, {3, 3, 33, 40},  {5, 1, 67, 21},
                               {12, 1, 80, 130}, {7, 7, 15, 129}, {2, 2, 256, 20}};

TEST_P(AttentionTest, AgreesWithTheDefinitionOnEveryGrid) {
  for (const Grid* grid : CacheGrids()) {
    for (const Sequence& s : kSequences) {
      const std::vector<double> expected = s.Expected(*grid);
      const Floats out = s.Run(*ops_, *grid, {s.tokens});
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(out[i], expected[i], 1e-5)
            << grid->name << ", heads of " << s.shape.head_dim << ", " << i;
      }
    }
  }
}

// Windows of one token, within a chunk of positions, across its border and beyond all; caps that
// flatten scores and that hardly touch them.
TEST_P(AttentionTest, KnowsWindowsAndSoftCaps) {
  for (const Grid* grid : CacheGrids()) {
    for (const int64_t window : {1, 10, 130, 4096}) {
      for (const float softcap : {0.0f, 0.5f, 30.0f}) {
        Sequence s(4, 2, 20, 140);
        s.form.window = window;
        s.form.softcap = softcap;
        const std::vector<double> expected = s.Expected(*grid);
        const Floats out = s.Run(*ops_, *grid, {s.tokens});
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(out[i], expected[i], 1e-5)
              << grid->name << ", window " << window << ", cap " << softcap << ", " << i;
        }
        EXPECT_EQ(s.Run(*ops_, *grid, {1}), out) << grid->name << " " << window << " " << softcap;
        EXPECT_EQ(s.Run(*ops_, *grid, {9, 1, 2, 3, 17}), out) << grid->name << " " << window;
      }
    }
  }
}

TEST_P(AttentionTest, CapsLargeScores) {
  Sequence s(2, 1, 16, 40);
  for (float& v : s.q) v *= 100;
  s.form.softcap = 20;
  const std::vector<double> expected = s.Expected(F32Grid());
  const Floats out = s.Run(*ops_, F32Grid(), {40});
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1e-4) << i;
}

TEST_P(AttentionTest, GivesTheSameBitsHoweverTokensAreSplit) {
  for (const Grid* grid : CacheGrids()) {
    for (const Sequence& s : kSequences) {
      const Floats at_once = s.Run(*ops_, *grid, {s.tokens});
      EXPECT_EQ(s.Run(*ops_, *grid, {1}), at_once) << grid->name << " " << s.shape.head_dim;
      EXPECT_EQ(s.Run(*ops_, *grid, {9, 1, 2, 3, 17}), at_once) << grid->name;
    }
  }
}

// Runs of several sequences at once, some at their beginning, some late, one with many tokens.
TEST_P(AttentionTest, GivesTheSameBitsInABatch) {
  const std::pair<int64_t, int64_t> runs[] = {{0, 1}, {150, 1}, {17, 2}, {3, 40}, {129, 1}, {0, 9}};
  for (const Grid* grid : CacheGrids()) {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<TokenRun> batch;
    Floats q, k, v, expected;
    for (const auto& [position, tokens] : runs) {
      const Sequence s(6, 2, 40, position + tokens, 300 + position);
      const Floats out = s.Run(*ops_, *grid, {7});
      Floats ignored(out.size());
      caches.push_back(ops_->MakeCache(s.shape, *grid));
      if (position > 0) s.Run(*ops_, *caches.back(), 0, position, ignored);
      batch.push_back({caches.back().get(), position, tokens});
      q.insert(q.end(), s.q.begin() + position * s.width(), s.q.end());
      k.insert(k.end(), s.k.begin() + position * s.kv_width(), s.k.end());
      v.insert(v.end(), s.v.begin() + position * s.kv_width(), s.v.end());
      expected.insert(expected.end(), out.begin() + position * s.width(), out.end());
    }
    Floats out(q.size(), NAN);
    ops_->Attention(batch, 1, q.data(), k.data(), v.data(), {1.0f / std::sqrt(40.0f)}, out.data());
    EXPECT_EQ(out, expected) << grid->name;
  }
  ops_->Attention({}, 0, nullptr, nullptr, nullptr, {1}, nullptr);
}

TEST_P(AttentionTest, DoesNotDependOnTheThreads) {
  CpuOps single(1, std::get<Isa>(GetParam()));
  for (const Grid* grid : CacheGrids()) {
    for (const Sequence& s : kSequences) {
      EXPECT_EQ(s.Run(*ops_, *grid, {40, 1}), s.Run(single, *grid, {40, 1})) << grid->name;
    }
  }
}

// What the cache held of another sequence, or of tokens that were taken back, must not matter.
TEST_P(AttentionTest, ForgetsWhatIsOverwritten) {
  const Sequence first(6, 2, 40, 150, 101), second(6, 2, 40, 150, 202);
  for (const Grid* grid : CacheGrids()) {
    const auto cache = ops_->MakeCache(first.shape, *grid);
    Floats out(first.q.size()), again(first.q.size());
    first.Run(*ops_, *cache, 0, 150, out);
    second.Run(*ops_, *cache, 0, 70, again);
    second.Run(*ops_, *cache, 35, 150, again);
    EXPECT_EQ(again, second.Run(*ops_, *grid, {150})) << grid->name;
  }
}

// Nothing after a token reaches it: a later key that beats all others changes no earlier output.
TEST_P(AttentionTest, IsCausal) {
  const Sequence s(4, 2, 32, 140);
  for (const Grid* grid : CacheGrids()) {
    const Floats out = s.Run(*ops_, *grid, {140});
    Sequence changed = s;
    const int64_t from = 133;
    for (int64_t i = from * s.kv_width(); i < std::ssize(s.k); ++i) changed.k[i] *= 50;
    for (int64_t i = from * s.kv_width(); i < std::ssize(s.v); ++i) changed.v[i] = 1000;
    const Floats other = changed.Run(*ops_, *grid, {140});
    const auto border = out.begin() + from * s.width();
    EXPECT_TRUE(std::equal(out.begin(), border, other.begin())) << grid->name;
    EXPECT_FALSE(std::equal(border, out.end(), other.begin() + from * s.width())) << grid->name;
  }
}

TEST_P(AttentionTest, SurvivesLargeScores) {
  Sequence s(2, 1, 16, 40);
  for (float& v : s.q) v *= 100;
  const std::vector<double> expected = s.Expected(F32Grid());
  const Floats out = s.Run(*ops_, F32Grid(), {40});
  // A score of about a thousand keeps 1e-4 of its own rounding.
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1e-3) << i;
}

// Numbers beyond f16 saturate; subnormal ones are kept; what is no number stays none.
TEST_P(AttentionTest, MeetsTheEndsOfTheRange) {
  for (const Grid* grid : CacheGrids()) {
    const bool whole = grid == &F32Grid();
    for (const float value : {65504.0f, 65520.0f, 3e38f, -7e4f, 6e-8f, 3e-6f, 0.0f}) {
      Sequence s(1, 1, 32, 1);
      std::ranges::fill(s.v, value);
      const float out = s.Run(*ops_, *grid, {1})[0];
      EXPECT_TRUE(std::isfinite(out)) << grid->name << " " << value;
      if (grid->plain && std::fabs(value) < 65504) {
        EXPECT_EQ(out, s.Expected(*grid)[0]) << grid->name << " " << value;
      } else if (grid->plain) {
        EXPECT_EQ(out, whole ? value : std::copysign(65504.0f, value)) << value;
      }
    }
    for (const float value : {INFINITY, -INFINITY, NAN}) {
      Sequence s(1, 1, 32, 3);
      s.v[40] = value;
      EXPECT_FALSE(std::isfinite(s.Run(*ops_, *grid, {3})[40])) << grid->name << " " << value;
    }
  }
}

// A query's or key's number that is not finite reaches whatever attends with it and nothing else:
// the outputs must tell that a weight is broken.
TEST_P(AttentionTest, NoScoreThatIsNoNumberIsLost) {
  constexpr int64_t kTokens = 150, kBroken = 70;
  for (const Grid* grid : CacheGrids()) {
    for (const float softcap : {0.0f, 20.0f}) {
      for (const float value : {NAN, INFINITY, -INFINITY}) {
        Sequence by_key(1, 1, 32, kTokens), by_query(1, 1, 32, kTokens);
        by_key.form.softcap = by_query.form.softcap = softcap;
        by_key.k[kBroken * 32 + 5] = by_query.q[kBroken * 32 + 5] = value;
        for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{kTokens}, {1}}) {
          const Floats keys = by_key.Run(*ops_, *grid, pieces);
          const Floats queries = by_query.Run(*ops_, *grid, pieces);
          for (int64_t t = 0; t < kTokens; ++t) {
            ASSERT_EQ(std::isfinite(keys[t * 32]), t < kBroken)
                << grid->name << " " << softcap << " " << value << " " << t;
            ASSERT_EQ(std::isfinite(queries[t * 32]), t != kBroken)
                << grid->name << " " << softcap << " " << value << " " << t;
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, RefusesOtherGrids) {
  const AttentionShape shape{1, 1, 32, 1, 1};
  for (const Grid* grid : AllGrids()) {
    if (std::ranges::count(CacheGrids(), grid) > 0) continue;
    EXPECT_THROW(ops_->MakeCache(shape, *grid), Error) << grid->name;
  }
  EXPECT_THROW(ops_->MakeCache(shape, GridNamed("int4:g32")), Error);
  EXPECT_THROW(ops_->MakeCache({1, 1, 128, 1 << 20, INT64_MAX / 256}, F32Grid()), Error);
}

TEST(CacheGridsTest, AreFour) {
  std::vector<std::string_view> names;
  for (const Grid* grid : CacheGrids()) names.push_back(grid->name);
  EXPECT_EQ(names, (std::vector<std::string_view>{"f32", "f16", "q8_0", "q4_0"}));
}

// Bits of a number times the numbers, for heads that need no padding.
TEST(CacheGridsTest, TakeTheirBits) {
  CpuOps ops(1, Isa::kScalar);
  for (const Grid* grid : CacheGrids()) {
    const double numbers = 2.0 * 3 * 5 * 64 * 256;
    EXPECT_EQ(ops.MakeCache({5, 5, 64, 3, 256}, *grid)->bytes,
              numbers * grid->bits_per_weight() / 8)
        << grid->name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionTest,
                         testing::Combine(testing::ValuesIn(BuiltIsas()), testing::Values(1, 2, 3)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "Threads" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace halftone
