// A transformed layer computes what it did.

#include "pipeline/transform_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "tests/testing/hf_folder.h"
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

TEST(TransformLayerTest, ComputesTheSame) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  RewritePlan plan;
  plan.source = std::make_shared<const Source>(OpenSource(TinyBf16Folder().string()));
  for (const GgufTensor& t : plan.source->tensors) {
    plan.jobs.push_back(
        {&t, {t.tensor.shape.size() > 1 ? &GridNamed("q4_0") : t.tensor.grid, true, ""}, {}});
  }
  const LoadedModel model(AsGguf(*plan.source), std::shared_ptr<Ops>(MakeCpuOps(2)));
  const Hyperparameters& p = model.weights.parameters;
  ASSERT_LT(p.kv_heads, p.heads) << "value heads must be shared for this to be a test";
  const Transform transform{"random", "", "rtn", &RandomScales};
  ThreadPool pool(2);
  const std::vector<StageStatistics> stages(std::size(kStages));
  const TransformedValues values = TransformValues(plan, transform, model.weights, 1, stages, pool);
  const LayerWeights& layer = model.weights.layers[1];
  const LayerWeights scaled = LayerWith(values, model.weights, 1, *model.ops);
  EXPECT_NE(scaled.attention_norm, layer.attention_norm);
  EXPECT_NE(scaled.feed_forward_norm, layer.feed_forward_norm);
  EXPECT_EQ(FoldedNames(plan, 1),
            (std::vector<std::string>{"blk.1.attn_norm.weight", "blk.1.ffn_norm.weight"}));

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

}  // namespace
}  // namespace halftone
