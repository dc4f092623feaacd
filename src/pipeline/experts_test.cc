// A mixture of experts through everything that quantizes. It is a trained dense model whose
// feed-forward is there four times: weights that sum to 1 make it the same function, whatever the
// router does. The router's rows 1 to 3 are alike, so that of two experts a token never needs the
// last.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "calibration/imatrix_file.h"
#include "container/container.h"
#include "halftone/error.h"
#include "halftone/quantize.h"
#include "model/dialect.h"
#include "tests/testing/calibrated.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kExperts = 4, kUnused = 3;

class ExpertsTest : public CalibratedTest {
 protected:
  void SetUp() override {
    CalibratedTest::SetUp();
    if (IsSkipped()) return;
    WriteMixture();
  }

  std::string Mixture() const { return Out("mixture"); }

  static QuantizeOptions Options(const std::string& method) {
    QuantizeOptions options = Calibrated(method, 12);
    options.grid = "q4_0";
    return options;
  }

 private:
  void WriteMixture() {
    const Checkpoint dense = OpenCheckpoint(model_);
    CheckpointPlan plan;
    plan.documents = dense.documents;
    Json config = ParseJson(dense.documents.at("config.json"), "config");
    config["architectures"] = {"MixtralForCausalLM"};
    config["model_type"] = "mixtral";
    config["num_local_experts"] = kExperts;
    config["num_experts_per_tok"] = 2;
    plan.documents["config.json"] = config.dump();
    std::vector<Tensor> tensors;
    for (const Tensor& tensor : dense.tensors) {
      const size_t mlp = tensor.name.find("mlp.");
      if (mlp == std::string::npos) {
        tensors.push_back(tensor);
        continue;
      }
      const std::string prefix = tensor.name.substr(0, mlp) + "block_sparse_moe.";
      const bool gate = tensor.name.find("gate_proj") != std::string::npos;
      const bool up = tensor.name.find("up_proj") != std::string::npos;
      for (int64_t e = 0; e < kExperts; ++e) {
        tensors.push_back(tensor);
        tensors.back().name = prefix + "experts." + std::to_string(e) +
                              (gate ? ".w1"
                               : up ? ".w3"
                                    : ".w2") +
                              ".weight";
      }
      if (gate) tensors.push_back(Router(prefix + "gate.weight", tensor.cols()));
    }
    for (const Tensor& t : tensors) plan.tensors.push_back({t.name, t.grid, t.shape});
    const auto writer = ContainerNamed("safetensors").create(Mixture(), plan);
    for (const Tensor& t : tensors) writer->Append(Loaded(t).data);
    writer->Commit();
  }

  static Tensor Router(std::string name, int64_t width) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<float> rows(static_cast<size_t>(kExperts * width));
    for (int64_t i = 0; i < 2 * width; ++i) rows[i] = normal(random);
    for (int64_t i = 2 * width; i < std::ssize(rows); ++i) rows[i] = rows[i - width];
    return MakeF32Tensor(std::move(name), {kExperts, width}, rows);
  }
};

const QuantizedTensor& Find(const QuantizeReport& report, const std::string& name) {
  return *std::ranges::find(report.tensors, name, &QuantizedTensor::name);
}

TEST_F(ExpertsTest, ComputesWhatTheDenseModelDoes) {
  EXPECT_LT(Divergence(Mixture()), 1e-8);
  Convert(Mixture(), Out("mixture.gguf"), {});
  EXPECT_LT(Divergence(Out("mixture.gguf")), 1e-8);
  const Checkpoint gguf = OpenCheckpoint(Out("mixture.gguf"));
  const Tensor& up = gguf.Get("blk.0.ffn_up_exps.weight");
  ASSERT_EQ(up.shape.size(), 3u);
  EXPECT_EQ(up.shape[0], kExperts);
}

TEST_F(ExpertsTest, ImportancesAreOfTheTokensThatMeetAnExpert) {
  ImatrixOptions options;
  options.context = kContext;
  options.chunks = 4;
  ComputeImatrix(Mixture(), SourcePath("data/calibration.txt"), Out("i.gguf"), options);
  const ImportanceMatrix matrix = ReadImportanceMatrix(Out("i.gguf"));
  for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight"}) {
    const ImportanceEntry& entry = matrix.entries.at(name);
    ASSERT_EQ(entry.counts.size(), static_cast<size_t>(kExperts));
    EXPECT_EQ(entry.Unseen(), (std::vector<int64_t>{kUnused})) << name;
    EXPECT_EQ(entry.counts[0] + entry.counts[1] + entry.counts[2], 2 * 4 * kContext) << name;
  }
  // All of them see what the dense model's one sees, in parts.
  ComputeImatrix(model_, SourcePath("data/calibration.txt"), Out("d.gguf"), options);
  const ImportanceMatrix dense = ReadImportanceMatrix(Out("d.gguf"));
  const auto& parts = matrix.entries.at("blk.1.ffn_up_exps.weight").sum_squares;
  const auto& whole = dense.entries.at("blk.1.ffn_up.weight").sum_squares;
  for (size_t c = 0; c < whole.size(); ++c) {
    double sum = 0;
    for (size_t i = c; i < parts.size(); i += whole.size()) sum += parts[i];
    ASSERT_NEAR(sum, 2 * whole[c], 1e-3 * whole[c]) << c;
  }
}

TEST_F(ExpertsTest, EveryMethodNamesTheExpertThatNoTokenMet) {
  Quantize(Mixture(), Out("rtn.gguf"), [] {
    QuantizeOptions options;
    options.grid = "q4_0";
    options.method = "rtn";
    return options;
  }());
  const double plain = Divergence(Out("rtn.gguf"));
  for (const std::string method : {"imatrix", "gptq", "best", "awq+gptq"}) {
    const QuantizeReport report = Quantize(Mixture(), Out("o.gguf"), Options(method));
    for (const char* part : {"gate", "up", "down"}) {
      const std::string name = "blk.1.ffn_" + std::string(part) + "_exps.weight";
      EXPECT_THAT(Find(report, name).note, HasSubstr("no token met expert 3")) << method;
    }
    EXPECT_THAT(Find(report, "blk.1.attn_q.weight").note, Not(HasSubstr("expert"))) << method;
    EXPECT_LT(Divergence(Out("o.gguf")), plain) << method;
  }
}

TEST_F(ExpertsTest, ResumesToTheSameBytes) {
  QuantizeOptions options = Options("gptq");
  options.threads = 2;
  Quantize(Mixture(), Out("two.gguf"), options);
  options.threads = 1;
  Quantize(Mixture(), Out("one.gguf"), options);
  EXPECT_EQ(ReadBytes(Out("one.gguf")), ReadBytes(Out("two.gguf")));
}

TEST_F(ExpertsTest, MeetsATarget) {
  QuantizeOptions options = Options("best");
  options.grid = "";
  options.target_bits = 4.5;
  const QuantizeReport report = Quantize(Mixture(), Out("o.gguf"), options);
  EXPECT_LE(report.bits_per_weight, 4.5);
  EXPECT_LT(Divergence(Out("o.gguf")), 0.1);
}

// The same codes in one tensor and in one for each expert.
TEST_F(ExpertsTest, GoesToCheckpointsOfOtherTools) {
  QuantizeOptions options = Options("gptq");
  options.grid = "int4:g32";
  options.container = "gptq";
  Quantize(Mixture(), Out("folder"), options);
  const double divergence = Divergence(Out("folder"));
  // Errors of two experts that differ even out in part.
  Quantize(model_, Out("dense"), options);
  EXPECT_LT(divergence, 1.2 * Divergence(Out("dense")));
  Convert(Out("folder"), Out("again.gguf"), {});
  EXPECT_NEAR(Divergence(Out("again.gguf")), divergence, 0.02 * divergence + 1e-6);
  const Checkpoint folder = OpenCheckpoint(Out("folder"));
  EXPECT_NE(folder.Find("model.layers.1.block_sparse_moe.experts.3.w2.weight"), nullptr);
  options.act_order = true;
  EXPECT_THROW(Quantize(Mixture(), Out("x"), options), Error);
}

}  // namespace
}  // namespace halftone
