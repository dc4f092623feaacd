// A transformed layer computes what it did.

#include "pipeline/transform_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <random>

#include "tests/testing/hf_folder.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

// Scales of its own making, alike where columns share a source.
std::vector<float> RandomScales(const ScaleProblem& problem, ThreadPool&) {
  std::vector<float> scales;
  for (int64_t i = 0; i < problem.n; ++i) {
    std::mt19937 random(static_cast<unsigned>(problem.source[i]) * 7919u + 1);
    scales.push_back(std::exp2(static_cast<float>(random() % 4096) / 1024.0f - 2));
  }
  return scales;
}

// Layer 1 of a model as it is and transformed.
struct Layers {
  RewritePlan plan;
  std::unique_ptr<LoadedModel> model;
  LayerWeights scaled;
};

Layers TransformedLayer(const std::string& path) {
  Layers layers;
  RewritePlan& plan = layers.plan;
  plan.source = std::make_shared<const Source>(OpenSource(path));
  for (const GgufTensor& t : plan.source->tensors) {
    const bool matrix = t.tensor.shape.size() > 1;
    plan.jobs.push_back({&t, {matrix ? &GridNamed("q4_0") : t.tensor.grid, true, ""}, {}});
  }
  layers.model =
      std::make_unique<LoadedModel>(AsGguf(*plan.source), std::shared_ptr<Ops>(MakeCpuOps(2)));
  const ModelWeights& weights = layers.model->weights;
  const Transform transform{"random", "", "rtn", &RandomScales};
  ThreadPool pool(2);
  const auto matrices = static_cast<size_t>(std::max<int64_t>(1, weights.parameters.experts));
  const LayerStatistics stages(std::size(kStages), std::vector<StageStatistics>(matrices));
  const TransformedValues values = TransformValues(plan, transform, weights, 1, stages, pool);
  layers.scaled = LayerWith(values, weights, 1, *layers.model->ops);
  return layers;
}

void ExpectSameFunction(const LoadedModel& model, const LayerWeights& layer,
                        const LayerWeights& scaled) {
  const Hyperparameters& p = model.weights.parameters;
  constexpr int64_t kTokens = 16;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> residual(kTokens * p.width);
  for (float& v : residual) v = normal(random);
  Workspace workspace(p, *model.ops, kTokens);
  const auto cache = model.ops->MakeCache({p.heads, p.kv_heads, p.head_dim, 1, kTokens}, F32Grid());
  ForwardPass pass(model.weights, *model.ops, *cache, workspace, kTokens, 0);
  const auto run = [&](const LayerWeights& weights) {
    pass.SetResidual(residual.data());
    for (const Stage stage : kStages) {
      pass.Input(weights, stage);
      pass.Apply(weights, stage, 0);
    }
    return std::vector<float>(pass.residual(), pass.residual() + residual.size());
  };
  const auto before = run(layer), after = run(scaled);
  double largest = 0;
  for (const float v : before) largest = std::max<double>(largest, std::fabs(v));
  for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(before[i], after[i], 2e-5 * largest) << i;
}

TEST(TransformLayerTest, ComputesTheSame) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  const Layers layers = TransformedLayer(TinyBf16Folder().string());
  const LoadedModel& model = *layers.model;
  const Hyperparameters& p = model.weights.parameters;
  ASSERT_LT(p.kv_heads, p.heads) << "value heads must be shared for this to be a test";
  const LayerWeights& layer = model.weights.layers[1];
  EXPECT_NE(layers.scaled.attention_norm, layer.attention_norm);
  EXPECT_NE(layers.scaled.feed_forward_norm, layer.feed_forward_norm);
  EXPECT_EQ(FoldedNames(layers.plan, 1),
            (std::vector<std::string>{"blk.1.attn_norm.weight", "blk.1.ffn_norm.weight"}));
  ExpectSameFunction(model, layer, layers.scaled);
}

// Biases, fused matrices, norms of heads and branches, windows, experts.
TEST(TransformLayerTest, ComputesTheSameInEveryArchitecture) {
  const std::filesystem::path models = SourcePath("tests/golden/architectures");
  int64_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename());
    const Layers layers = TransformedLayer(entry.path().string());
    const LayerWeights& layer = layers.model->weights.layers[1];
    EXPECT_NE(layers.scaled.attention_norm, layer.attention_norm);
    // The router reads what experts' gates do: its norm stays.
    EXPECT_EQ(layers.scaled.feed_forward_norm == layer.feed_forward_norm, !layer.experts.empty());
    EXPECT_EQ(layers.scaled.query_norm, layer.query_norm);
    EXPECT_EQ(layers.scaled.attention_post_norm, layer.attention_post_norm);
    ExpectSameFunction(*layers.model, layer, layers.scaled);
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace halftone
