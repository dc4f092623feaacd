// Every derivative against central differences, in f64, of the operation's definition, on every
// instruction set of this processor and several numbers of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "grid/grid.h"
#include "kernel/cpu/cpu_ops.h"
#include "kernel/cpu/testing/random.h"
#include "tensor/tensor.h"

namespace halftone {
namespace {

using Doubles = std::vector<double>;

// The derivative by each of x of the sum of dy * f(x).
using Function = std::function<Doubles(const Doubles& x)>;

Doubles Differences(const Function& f, const Floats& x, const Floats& dy) {
  Doubles at(x.begin(), x.end());
  const auto sum = [&] {
    const Doubles y = f(at);
    double total = 0;
    for (size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  };
  Doubles derivatives(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = at[i], step = 1e-5 * std::max(1.0, std::fabs(kept));
    at[i] = kept + step;
    const double above = sum();
    at[i] = kept - step;
    derivatives[i] = (above - sum()) / (2 * step);
    at[i] = kept;
  }
  return derivatives;
}

void ExpectNear(const Floats& actual, const Doubles& expected, double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0;
  for (const double e : expected) largest = std::max(largest, std::fabs(e));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], relative * largest) << "value " << i;
  }
}

class TrainingTest : public testing::TestWithParam<std::tuple<Isa, int>> {
 protected:
  void SetUp() override {
    const auto [isa, threads] = GetParam();
    if (!IsaAvailable(isa)) GTEST_SKIP() << "this processor lacks " << IsaName(isa);
    ops_ = std::make_unique<CpuOps>(threads, isa);
  }

  std::unique_ptr<CpuOps> ops_;
};

// ---- Products ----

Doubles Product(const Floats& a, const Floats& b, const ProductShape& s, bool turned) {
  Doubles c(static_cast<size_t>(s.m * s.n));
  for (int64_t m = 0; m < s.m; ++m) {
    for (int64_t n = 0; n < s.n; ++n) {
      for (int64_t k = 0; k < s.k; ++k) {
        c[m * s.n + n] +=
            static_cast<double>(turned ? a[k * s.m + m] : a[m * s.k + k]) * b[k * s.n + n];
      }
    }
  }
  return c;
}

TEST_P(TrainingTest, AddsProductsOfPlainMatrices) {
  for (const ProductShape& s : {ProductShape{1, 1, 1},
                                {7, 65, 3},
                                {16, 200, 150},
                                {40, 64, 129},
                                {13, 33, 300},
                                {150, 130, 16}}) {
    const Floats b = Random(s.k * s.n, 2), before = Random(s.m * s.n, 3);
    for (const bool turned : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.m << "x" << s.n << "x" << s.k << " " << turned);
      const Floats a = Random(s.m * s.k, 1);
      Floats c = before;
      if (turned) {
        ops_->AddTurnedProduct(a.data(), b.data(), s, 0.5f, c.data());
      } else {
        ops_->AddProduct(a.data(), b.data(), s, 0.5f, c.data());
      }
      Doubles expected = Product(a, b, s, turned);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] = before[i] + 0.5 * expected[i];
      ExpectNear(c, expected, 1e-6);
    }
  }
}

TEST_P(TrainingTest, MultipliesByPlainMatrices) {
  const int64_t rows = 13, cols = 70, tokens = 31;
  const Floats w = Random(rows * cols, 1), x = Random(tokens * cols, 2);
  Floats y(static_cast<size_t>(tokens * rows), NAN);
  ops_->Multiply(w.data(), rows, cols, x.data(), tokens, y.data());
  Doubles expected(y.size());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < cols; ++i) {
        expected[t * rows + r] += static_cast<double>(x[t * cols + i]) * w[r * cols + i];
      }
    }
  }
  ExpectNear(y, expected, 1e-6);
}

// What comes back is the product with the decoded weights turned, whatever their grid.
TEST_P(TrainingTest, MatMulBackTurnsTheWeights) {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (grid->writable()) grids.push_back(grid);
  }
  for (const char* name : {"nf4", "nf4:dq", "int4:g32", "int4:g64:asym", "int8:g128"}) {
    grids.push_back(&GridNamed(name));
  }
  for (const Grid* grid : grids) {
    SCOPED_TRACE(grid->name);
    const int64_t rows = 150, cols = 2 * std::max<int64_t>(grid->block, 32), tokens = 19;
    std::vector<uint8_t> bytes(static_cast<size_t>(rows) * grid->RowBytes(cols));
    const Floats values = Random(rows * cols, 5, 10.0f);
    const Floats ones(static_cast<size_t>(cols), 1.0f);
    for (int64_t r = 0; r < rows; ++r) {
      grid->Encode(values.data() + r * cols, cols,
                   grid->importance == Importance::kRequired ? ones.data() : nullptr,
                   bytes.data() + static_cast<uint64_t>(r) * grid->RowBytes(cols));
    }
    Tensor tensor = MakeTensor("w", *grid, {rows, cols}, std::move(bytes));
    for (const bool ordered : {false, true}) {
      if (ordered) {
        auto order = std::make_shared<std::vector<int32_t>>(cols);
        std::iota(order->begin(), order->end(), 0);
        std::shuffle(order->begin(), order->end(), std::mt19937(7));
        tensor.order = order;
      }
      const Floats w = Decode(tensor), dy = Random(tokens * rows, 6),
                   before = Random(tokens * cols, 8);
      Floats dx = before;
      ops_->MatMulBack(*ops_->Prepare(tensor), dy.data(), tokens, dx.data());
      Doubles expected = Product(dy, w, {tokens, cols, rows}, false);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += before[i];
      ExpectNear(dx, expected, 2e-6);
    }
  }
}

// Products in bf16: those of the numbers rounded to it, in f64, for odd shapes and long rows.
TEST_P(TrainingTest, Bf16ProductsAreThoseOfRoundedNumbers) {
  const auto [isa, threads] = GetParam();
  if (FindBf16Ops(isa) == nullptr) GTEST_SKIP() << "this processor has no such products";
  CpuOps ops(threads, isa, Activations::kBf16);
  const Grid& bf16 = GridNamed("bf16");
  const auto rounded = [&](Floats values) {
    std::vector<uint8_t> bytes(values.size() * 2);
    bf16.Encode(values.data(), std::ssize(values), nullptr, bytes.data());
    bf16.Decode(bytes.data(), std::ssize(values), values.data());
    return values;
  };
  struct Shape {
    int64_t rows, cols, tokens;
  };
  for (const auto& [rows, cols, tokens] :
       {Shape{1, 1, 2}, {150, 70, 19}, {257, 2085, 7}, {129, 64, 12}, {8, 33, 3}, {40, 1056, 8}}) {
    SCOPED_TRACE(testing::Message() << rows << "x" << cols << " " << tokens);
    for (const char* name : {"f32", "bf16"}) {
      const Floats w = rounded(Random(rows * cols, 1));
      const Grid& grid = GridNamed(name);
      std::vector<uint8_t> bytes(static_cast<size_t>(rows) * grid.RowBytes(cols));
      grid.Encode(w.data(), rows * cols, nullptr, bytes.data());
      const auto matrix = ops.Prepare(MakeTensor("w", grid, {rows, cols}, std::move(bytes)));
      const Floats x = Random(tokens * cols, 2), dy = Random(tokens * rows, 3);
      Floats y(static_cast<size_t>(tokens * rows), NAN), dx(static_cast<size_t>(tokens * cols), 1);
      ops.MatMul(*matrix, x.data(), tokens, y.data());
      ops.MatMulBack(*matrix, dy.data(), tokens, dx.data());
      Floats turned(w.size());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < cols; ++i) turned[i * rows + r] = w[r * cols + i];
      }
      ExpectNear(y, Product(rounded(x), turned, {tokens, rows, cols}, false), 2e-6);
      Doubles expected = Product(rounded(dy), w, {tokens, cols, rows}, false);
      for (double& e : expected) e += 1;
      ExpectNear(dx, expected, 2e-6);
    }
  }
}

// ---- Norms, gates, caps, the loss ----

TEST_P(TrainingTest, RmsNorm) {
  const int64_t tokens = 5, width = 37;
  const float eps = 1e-3f;
  const Floats x = Random(tokens * width, 1), weight = Random(width, 2),
               dy = Random(tokens * width, 3);
  Floats dx = dy;  // in place
  ops_->RmsNormBack(x.data(), weight.data(), eps, dx.data(), tokens, width, dx.data());
  const auto norm = [&](const Doubles& at) {
    Doubles y(at.size());
    for (int64_t t = 0; t < tokens; ++t) {
      double squares = 0;
      for (int64_t i = 0; i < width; ++i) squares += at[t * width + i] * at[t * width + i];
      const double scale = 1 / std::sqrt(squares / width + eps);
      for (int64_t i = 0; i < width; ++i) y[t * width + i] = at[t * width + i] * scale * weight[i];
    }
    return y;
  };
  ExpectNear(dx, Differences(norm, x, dy), 1e-5);
}

// Both inputs' derivatives, with gates far out too.
void CheckGate(const std::function<double(double)>& gate_function,
               const std::function<void(const float*, const float*, const float*, int64_t, float*,
                                        float*)>& back) {
  Floats gate = Random(75, 1, 3.0f);
  gate[3] = -200, gate[4] = 200, gate[74] = 90;
  const Floats up = Random(75, 2), dy = Random(75, 3);
  Floats dgate(75, NAN), dup = dy;  // in place
  back(gate.data(), up.data(), dup.data(), 75, dgate.data(), dup.data());
  const auto of = [&](const Doubles& gates, const Doubles& ups) {
    Doubles y(gates.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = gate_function(gates[i]) * ups[i];
    return y;
  };
  const Doubles gates(gate.begin(), gate.end()), ups(up.begin(), up.end());
  ExpectNear(dgate, Differences([&](const Doubles& at) { return of(at, ups); }, gate, dy), 2e-6);
  ExpectNear(dup, Differences([&](const Doubles& at) { return of(gates, at); }, up, dy), 2e-6);
}

TEST_P(TrainingTest, SiluMultiply) {
  CheckGate([](double g) { return g / (1 + std::exp(-g)); },
            [&](auto... arguments) { ops_->SiluMultiplyBack(arguments...); });
}

TEST_P(TrainingTest, GeluMultiply) {
  CheckGate(
      [](double g) {
        return g / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
      },
      [&](auto... arguments) { ops_->GeluMultiplyBack(arguments...); });
}

TEST_P(TrainingTest, SoftCap) {
  const Floats x = Random(50, 1, 20.0f), dy = Random(50, 2);
  Floats y = x, dx = dy;
  ops_->SoftCap(y.data(), 15.0f, 50);
  ops_->SoftCapBack(y.data(), 15.0f, 50, dx.data());
  const auto cap = [](const Doubles& at) {
    Doubles capped(at.size());
    for (size_t i = 0; i < at.size(); ++i) capped[i] = 15 * std::tanh(at[i] / 15);
    return capped;
  };
  ExpectNear(dx, Differences(cap, x, dy), 1e-5);
}

TEST_P(TrainingTest, CrossEntropy) {
  const int64_t tokens = 3, width = 1100;
  Floats logits = Random(tokens * width, 1, 4.0f);
  logits[5] = -300;  // no weight at all
  const std::vector<int32_t> targets = {7, 0, 1099};
  const auto losses_of = [&](const Doubles& at) {
    Doubles losses;
    for (int64_t t = 0; t < tokens; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += std::exp(at[t * width + i]);
      losses.push_back(std::log(sum) - at[t * width + targets[t]]);
    }
    return losses;
  };
  const Floats factor(tokens, 0.25f);
  const Doubles expected = Differences(losses_of, logits, factor);
  const Doubles expected_losses = losses_of({logits.begin(), logits.end()});
  Doubles losses(tokens);
  ops_->CrossEntropy(logits.data(), targets, width, 0.25f, losses.data());
  ExpectNear(logits, expected, 1e-5);
  for (int64_t t = 0; t < tokens; ++t) EXPECT_NEAR(losses[t], expected_losses[t], 1e-5);
}

// What is no number is never hidden: training stops by it.
TEST_P(TrainingTest, CrossEntropyOfNoNumberIsNone) {
  for (const int64_t width : {5, 100}) {
    for (const float bad : {NAN, INFINITY}) {
      Floats logits = Random(width, 1);
      logits[static_cast<size_t>(width - 2)] = bad;
      double loss = 0;
      ops_->CrossEntropy(logits.data(), std::vector<int32_t>{1}, width, 1, &loss);
      EXPECT_TRUE(std::isnan(loss)) << bad << " " << width;
    }
  }
}

// ---- Experts ----

// By the choice's definition, for a choice that stays.
TEST_P(TrainingTest, ChooseExperts) {
  const int64_t tokens = 23, experts = 11, used = 4;
  const Floats logits = Random(tokens * experts, 1, 2.0f), dweights = Random(tokens * used, 2);
  for (const bool normalized : {false, true}) {
    SCOPED_TRACE(normalized);
    std::vector<int32_t> chosen(tokens * used);
    Floats weights(tokens * used), dlogits(tokens * experts, NAN);
    ops_->ChooseExperts(logits.data(), tokens, experts, used, normalized, chosen.data(),
                        weights.data());
    ops_->ChooseExpertsBack(logits.data(), tokens, experts, used, normalized, chosen.data(),
                            weights.data(), dweights.data(), dlogits.data());
    const auto weights_of = [&](const Doubles& at) {
      Doubles y;
      for (int64_t t = 0; t < tokens; ++t) {
        double sum = 0;
        for (int64_t e = 0; e < experts; ++e) {
          const auto begin = chosen.begin() + t * used;
          const bool counts = !normalized || std::find(begin, begin + used, e) != begin + used;
          if (counts) sum += std::exp(at[t * experts + e]);
        }
        for (int64_t j = 0; j < used; ++j) {
          y.push_back(std::exp(at[t * experts + chosen[t * used + j]]) / sum);
        }
      }
      return y;
    };
    ExpectNear(dlogits, Differences(weights_of, logits, dweights), 2e-6);
  }
}

TEST_P(TrainingTest, BrokenRoutersAreNotHidden) {
  for (const bool normalized : {false, true}) {
    Floats logits = Random(11, 1);
    logits[5] = NAN;
    int32_t chosen[3];
    float weights[3], dlogits[11];
    const float dweights[3] = {1, 2, 3};
    ops_->ChooseExperts(logits.data(), 1, 11, 3, normalized, chosen, weights);
    ops_->ChooseExpertsBack(logits.data(), 1, 11, 3, normalized, chosen, weights, dweights,
                            dlogits);
    EXPECT_TRUE(std::isnan(dlogits[chosen[0]])) << normalized;
  }
}

// Of the rows and of the weights; and that rows sent out come back as their sum.
TEST_P(TrainingTest, SumRows) {
  const int64_t width = 37, tokens = 13, each = 3, count = tokens * each;
  const Floats x = Random(count * width, 1), weights = Random(count, 2),
               dy = Random(tokens * width, 3);
  std::vector<int32_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = static_cast<int32_t>(i * 5 % count);
  Floats dx = x, dweights(count, NAN);  // in place
  ops_->SumRowsBack(dx.data(), rows, weights.data(), each, width, dy.data(), dx.data(),
                    dweights.data());
  const auto sums_of = [&](const Doubles& values, const Doubles& factors) {
    Doubles y(static_cast<size_t>(tokens * width));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < width; ++c) {
        y[i / each * width + c] += factors[i] * values[rows[i] * width + c];
      }
    }
    return y;
  };
  const Doubles values(x.begin(), x.end()), factors(weights.begin(), weights.end());
  ExpectNear(dx, Differences([&](const Doubles& at) { return sums_of(at, factors); }, x, dy), 2e-6);
  ExpectNear(dweights,
             Differences([&](const Doubles& at) { return sums_of(values, at); }, weights, dy),
             2e-6);

  std::vector<int32_t> sent(count);
  for (int64_t i = 0; i < count; ++i) sent[rows[i]] = static_cast<int32_t>(i / each);
  Floats back(static_cast<size_t>(tokens * width), NAN);
  ops_->SumRows(x.data(), rows, nullptr, each, width, back.data());
  const auto gather = [&](const Doubles& at) {
    Doubles y;
    for (const int32_t t : sent)
      y.insert(y.end(), at.begin() + t * width, at.begin() + (t + 1) * width);
    return y;
  };
  ExpectNear(back, Differences(gather, dy, x), 2e-6);
}

// ---- Dropout ----

// As ops.h defines it, on any instruction set and number of threads, in place or not.
TEST_P(TrainingTest, DropsOutByTheKey) {
  for (const int64_t n : {1, 37, 100'000}) {
    const Dropout dropout{0.3f, 0x123456789ABCDEF0u};
    const Floats x = Random(n, 1);
    Floats y = x;
    ops_->DropOut(y.data(), n, dropout, y.data());
    for (int64_t i = 0; i < n; ++i) {
      uint64_t z = dropout.key + (static_cast<uint64_t>(i) / 2 + 1) * 0x9E3779B97F4A7C15u;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      z ^= z >> 31;
      const uint64_t half = i % 2 == 0 ? z & 0xFFFFFFFFu : z >> 32;
      const double expected = static_cast<double>(half) < 0.3f * 0x1p32 ? 0 : x[i] / (1.0 - 0.3f);
      ASSERT_NEAR(y[i], expected, 2e-7 * std::fabs(expected)) << i << " of " << n;
    }
  }
  Floats broken = {NAN, INFINITY, NAN, INFINITY};
  ops_->DropOut(broken.data(), 4, {0.9f, 1}, broken.data());
  for (const float value : broken) EXPECT_FALSE(std::isfinite(value));
}

// Five deviations: of the share that is left out, of what is left out beside one another, and of
// the mean over many keys, which is x.
TEST_P(TrainingTest, DropsOutAtItsRate) {
  const int64_t n = 400'000;
  const Floats ones(n, 1.0f);
  for (const float rate : {0.01f, 0.05f, 0.5f, 0.9f}) {
    Floats y(n);
    ops_->DropOut(ones.data(), n, {rate, 77}, y.data());
    for (const int64_t apart : {1, 2, 64, 1000}) {
      double out = 0, both = 0;
      for (int64_t i = 0; i + apart < n; ++i) {
        out += y[i] == 0;
        both += y[i] == 0 && y[i + apart] == 0;
      }
      const auto count = static_cast<double>(n - apart);
      const auto near = [&](double share, double expected) {
        EXPECT_NEAR(share, expected, 5 * std::sqrt(expected * (1 - expected) / count)) << apart;
      };
      near(out / count, rate);
      near(both / count, static_cast<double>(rate) * rate);
    }
    const int64_t keys = 2000, width = 50;
    Doubles mean(width);
    for (int64_t key = 0; key < keys; ++key) {
      ops_->DropOut(ones.data(), width, {rate, static_cast<uint64_t>(key)}, y.data());
      for (int64_t i = 0; i < width; ++i) mean[i] += y[i] / keys;
    }
    const double deviation = std::sqrt(rate / (1.0 - rate) / keys);
    for (const double m : mean) EXPECT_NEAR(m, 1, 5 * deviation) << rate;
  }
}

// ---- Attention ----

struct AttentionCase {
  AttentionShape shape;
  std::vector<int64_t> lengths;
  ScoreForm form;
};

// Attention by its definition; q, k and v one behind the other in `at`.
Doubles AttentionOf(const AttentionCase& c, const Doubles& at) {
  const auto& [shape, lengths, form] = c;
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const int64_t dim = shape.head_dim, q_row = shape.heads * dim, kv_row = shape.kv_heads * dim;
  const double* q = at.data();
  const double* k = q + tokens * q_row;
  const double* v = k + tokens * kv_row;
  Doubles out(static_cast<size_t>(tokens * q_row));
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t h = 0; h < shape.heads; ++h) {
        const int64_t kv_at = h * shape.kv_heads / shape.heads * dim;
        const int64_t first = form.window > 0 ? std::max<int64_t>(0, t + 1 - form.window) : 0;
        Doubles weights;
        double sum = 0;
        for (int64_t p = first; p <= t; ++p) {
          double score = 0;
          for (int64_t i = 0; i < dim; ++i) {
            score += q[(begin + t) * q_row + h * dim + i] * k[(begin + p) * kv_row + kv_at + i];
          }
          score *= form.scale;
          if (form.softcap != 0) score = form.softcap * std::tanh(score / form.softcap);
          weights.push_back(std::exp(score));
          sum += weights.back();
        }
        for (int64_t p = first; p <= t; ++p) {
          for (int64_t i = 0; i < dim; ++i) {
            out[(begin + t) * q_row + h * dim + i] +=
                weights[p - first] / sum * v[(begin + p) * kv_row + kv_at + i];
          }
        }
      }
    }
    begin += length;
  }
  return out;
}

TEST_P(TrainingTest, Attention) {
  for (const AttentionCase& c : {AttentionCase{{4, 2, 6, 1, 16}, {5, 9}, {0.4f, 0, 0}},
                                 AttentionCase{{2, 2, 8, 1, 16}, {1}, {0.3f, 0, 0}},
                                 AttentionCase{{2, 1, 5, 1, 64}, {53}, {0.4f, 3.0f, 7}},
                                 AttentionCase{{3, 1, 4, 1, 16}, {4, 12}, {0.5f, 2.0f, 0}}}) {
    const int64_t tokens = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0});
    const int64_t q_size = tokens * c.shape.heads * c.shape.head_dim;
    const int64_t kv_size = tokens * c.shape.kv_heads * c.shape.head_dim;
    const Floats all = Random(q_size + 2 * kv_size, 1), dout = Random(q_size, 2);
    Floats derivatives(all.size(), NAN);
    const float* k = all.data() + q_size;
    float* dk = derivatives.data() + q_size;
    ops_->AttentionBack(c.lengths, c.shape, all.data(), k, k + kv_size, c.form, dout.data(),
                        derivatives.data(), dk, dk + kv_size);
    ExpectNear(derivatives,
               Differences([&](const Doubles& at) { return AttentionOf(c, at); }, all, dout), 1e-5);
  }
}

TEST_P(TrainingTest, RopeWithNegativeFrequenciesTurnsBack) {
  const int64_t tokens = 4, heads = 3, dim = 10;
  const std::vector<int64_t> positions = {0, 1, 17, 1000};
  const Floats frequencies = {1.0f, 0.3f, 0.01f};
  Floats negative = frequencies;
  for (float& f : negative) f = -f;
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves}) {
    const Floats x = Random(tokens * heads * dim, 1), dy = Random(tokens * heads * dim, 2);
    Floats dx = dy;
    ops_->Rope(dx.data(), positions, heads, dim, {style, negative, 1.5f});
    const auto turn = [&](const Doubles& at) {
      Doubles y = at;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t h = 0; h < heads; ++h) {
          for (int64_t i = 0; i < 3; ++i) {
            const int64_t head = (t * heads + h) * dim;
            const int64_t a = head + (style == RopeStyle::kHalves ? i : 2 * i);
            const int64_t b = head + (style == RopeStyle::kHalves ? i + 3 : 2 * i + 1);
            const double angle = static_cast<double>(positions[t]) * frequencies[i];
            y[a] = 1.5 * (at[a] * std::cos(angle) - at[b] * std::sin(angle));
            y[b] = 1.5 * (at[b] * std::cos(angle) + at[a] * std::sin(angle));
          }
        }
      }
      return y;
    };
    ExpectNear(dx, Differences(turn, x, dy), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingTest,
                         testing::Combine(testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512),
                                          testing::Values(1, 3)),
                         [](const auto& info) {
                           return std::string(IsaName(std::get<0>(info.param))) + "Threads" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace halftone
