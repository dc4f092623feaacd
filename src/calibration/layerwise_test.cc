#include "calibration/layerwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "calibration/gram.h"
#include "container/container.h"
#include "model/dialect.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

TEST(GramSumTest, IsTheMeanOfOuterProducts) {
  constexpr int64_t kN = 300, kTokens = 37;  // more than one panel
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> a(kN * kTokens * 2), b(a.size());
  for (float& v : a) v = normal(random);
  for (float& v : b) v = normal(random);
  const auto ops = MakeCpuOps(2);
  GramSum symmetric(kN), mixed(kN);
  for (const int64_t from : {int64_t{0}, kTokens}) {
    symmetric.Add(a.data() + from * kN, a.data() + from * kN, kTokens, *ops);
    mixed.Add(a.data() + from * kN, b.data() + from * kN, kTokens, *ops);
  }
  EXPECT_EQ(symmetric.tokens(), 2 * kTokens);
  const auto s = symmetric.Mean(), m = mixed.Mean();
  for (int64_t i = 0; i < kN; ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      double aa = 0, ab = 0;
      for (int64_t t = 0; t < 2 * kTokens; ++t) {
        aa += static_cast<double>(a[t * kN + i]) * a[t * kN + j] / (2 * kTokens);
        ab += static_cast<double>(a[t * kN + i]) * b[t * kN + j] / (2 * kTokens);
      }
      ASSERT_NEAR(s[i * kN + j], aa, 1e-5) << i << " " << j;
      ASSERT_NEAR(m[i * kN + j], ab, 1e-5) << i << " " << j;
    }
  }
}

// Sees what the plain forward pass feeds each weight.
class GramTap : public Tap {
 public:
  explicit GramTap(Ops& ops) : ops_(ops) {}
  void OnInput(std::string_view weight, const float* x, int64_t tokens, int64_t cols) override {
    sums.try_emplace(std::string(weight), cols).first->second.Add(x, x, tokens, ops_);
  }
  std::map<std::string, GramSum> sums;

 private:
  Ops& ops_;
};

// With weights that stay as they are, layer by layer gives what the whole forward pass gives.
TEST(LayerwiseTest, AgreesWithTheForwardPass) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix");
  std::filesystem::path path;
  for (const auto& entry :
       std::filesystem::directory_iterator(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix"))) {
    if (entry.path().extension() == ".gguf") path = entry.path();
  }
  const auto model = std::make_shared<const LoadedModel>(OpenCheckpoint(path),
                                                         std::shared_ptr<Ops>(MakeCpuOps(2)));
  ChunkedText chunks;
  chunks.length = 24;
  chunks.count = 4;
  std::mt19937 random(3);
  for (int i = 0; i < 96; ++i) chunks.tokens.push_back(static_cast<int32_t>(random() % 512));
  const auto other = MakeCpuOps(2);
  GramTap tap(*other);
  Session session(model, chunks.length);
  std::vector<float> logits(24 * model->weights.parameters.vocabulary);
  for (int64_t c = 0; c < 3; ++c) {  // the fourth is held back below
    session.Rewind(0);
    session.Append(chunks.chunk(c), 24, logits.data(), &tap);
  }
  LayerwiseOptions options;
  options.drift = true;
  options.held_out_chunks = 1;
  LayerwiseCalibration calibration(model, chunks, options);
  const auto close = [](const std::vector<float>& x, const std::vector<float>& y) {
    ASSERT_EQ(x.size(), y.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      difference += (static_cast<double>(x[i]) - y[i]) * (x[i] - y[i]);
      size += static_cast<double>(y[i]) * y[i];
    }
    EXPECT_LT(difference, 1e-8 * size);
  };
  close(calibration.Output().gram, tap.sums.at("output.weight").Mean());
  int64_t seen = 0;
  calibration.Run(nullptr, {.round =
                                [&](const std::string& name, const StageStatistics* statistics) {
                                  close(statistics->gram, tap.sums.at(name).Mean());
                                  EXPECT_EQ(statistics->tokens, 72);
                                  EXPECT_EQ(statistics->held_gram.size(), statistics->gram.size());
                                  for (const float d : statistics->drift) EXPECT_EQ(d, 0);
                                  ++seen;
                                  return model->checkpoint.Get(name);
                                },
                            .finished = [](const std::string&) { return false; }});
  EXPECT_EQ(seen, 2 * 7);
}

}  // namespace
}  // namespace halftone
