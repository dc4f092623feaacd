#include "calibration/layerwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "calibration/gram.h"
#include "container/container.h"
#include "model/dialect.h"
#include "tests/testing/paths.h"
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
  void OnExpertInput(std::string_view weight, int64_t expert, int64_t, const float* x,
                     int64_t tokens, int64_t cols) override {
    const std::string name = std::string(weight) + " " + std::to_string(expert);
    GramSum& sum = sums.try_emplace(name, cols).first->second;
    if (tokens > 0) sum.Add(x, x, tokens, ops_);
  }
  std::map<std::string, GramSum> sums;

 private:
  Ops& ops_;
};

void ExpectClose(const std::vector<float>& x, const std::vector<float>& y) {
  ASSERT_EQ(x.size(), y.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += (static_cast<double>(x[i]) - y[i]) * (x[i] - y[i]);
    size += static_cast<double>(y[i]) * y[i];
  }
  EXPECT_LE(difference, 1e-8 * size);
}

// With weights that stay as they are, layer by layer gives what the whole forward pass gives.
// Returns how many tensors were rounded.
int64_t CompareWithTheForwardPass(const std::shared_ptr<const LoadedModel>& model) {
  const Hyperparameters& p = model->weights.parameters;
  ChunkedText chunks;
  chunks.length = 24;
  chunks.count = 4;
  std::mt19937 random(3);
  for (int i = 0; i < 96; ++i) {
    chunks.tokens.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(p.vocabulary)));
  }
  const auto other = MakeCpuOps(2);
  GramTap tap(*other);
  Session session(model, chunks.length);
  std::vector<float> logits(static_cast<size_t>(24 * p.vocabulary));
  for (int64_t c = 0; c < 3; ++c) {  // the fourth is held back below
    session.Rewind(0);
    session.Append(chunks.chunk(c), 24, logits.data(), &tap);
  }
  LayerwiseOptions options;
  options.drift = true;
  options.held_out_chunks = 1;
  LayerwiseCalibration calibration(model, chunks, options);
  ExpectClose(calibration.Output().gram, tap.sums.at("output.weight").Mean());
  int64_t seen = 0;
  const auto round = [&](const std::string& name, const MeasureInput& measure) {
    const Tensor& tensor = model->checkpoint.Get(name);
    const int64_t matrices = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
    int64_t tokens = 0;
    for (int64_t m = 0; m < matrices; ++m) {
      const StageStatistics& statistics = measure(m);
      const GramSum& sum = tap.sums.at(matrices == 1 ? name : name + " " + std::to_string(m));
      EXPECT_EQ(statistics.tokens, sum.tokens()) << name << " " << m;
      tokens += statistics.tokens;
      if (statistics.tokens == 0) continue;
      ExpectClose(statistics.gram, sum.Mean());
      if (matrices == 1) {
        EXPECT_EQ(statistics.held_gram.size(), statistics.gram.size());
      }
      for (const float d : statistics.drift) EXPECT_EQ(d, 0);
    }
    EXPECT_EQ(tokens, matrices == 1 ? 72 : 72 * p.expert.used) << name;
    ++seen;
    return tensor;
  };
  calibration.Run(nullptr, {.round = round, .finished = [](const std::string&) { return false; }});
  return seen;
}

TEST(LayerwiseTest, AgreesWithTheForwardPass) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix");
  std::filesystem::path path;
  for (const auto& entry :
       std::filesystem::directory_iterator(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix"))) {
    if (entry.path().extension() == ".gguf") path = entry.path();
  }
  const auto model = std::make_shared<const LoadedModel>(OpenCheckpoint(path),
                                                         std::shared_ptr<Ops>(MakeCpuOps(2)));
  EXPECT_EQ(CompareWithTheForwardPass(model), 2 * 7);
}

// A checkpoint of Hugging Face's kind in the GGUF dialect.
Checkpoint InGguf(const Checkpoint& folder) {
  const Architecture& architecture = ArchitectureOf(folder);
  const Hyperparameters p = ReadHyperparameters(folder, architecture);
  Checkpoint gguf;
  gguf.path = folder.path;
  gguf.metadata = GgufModelMetadata(architecture, p, "model", 1);
  for (const GgufTensor& t : GgufTensors(folder, architecture, p)) {
    // Rows in another order are another model, which is as good here.
    gguf.tensors.push_back(Loaded(t.tensor));
  }
  return gguf;
}

// Experts, fused matrices, windows, norms of branches.
TEST(LayerwiseTest, AgreesWithTheForwardPassInOtherArchitectures) {
  const std::filesystem::path models = SourcePath("tests/golden/architectures");
  const std::pair<const char*, int64_t> tensors[] = {
      {"mixtral", 2 * 7}, {"qwen3moe", 2 * 7}, {"phi3", 2 * 4}, {"gemma3", 7 * 7}};
  for (const auto& [name, count] : tensors) {
    SCOPED_TRACE(name);
    const auto model = std::make_shared<const LoadedModel>(InGguf(OpenCheckpoint(models / name)),
                                                           std::shared_ptr<Ops>(MakeCpuOps(2)));
    EXPECT_EQ(CompareWithTheForwardPass(model), count);
  }
}

}  // namespace
}  // namespace halftone
