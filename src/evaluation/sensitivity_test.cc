// The divergence that one rounded tensor causes, against running the whole changed model.

#include "evaluation/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "container/container.h"
#include "evaluation/quality.h"
#include "grid/grid.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

Tensor Rounded(const Tensor& tensor, const Grid& grid) {
  const std::vector<float> values = Decode(Loaded(tensor));
  std::vector<uint8_t> blocks(tensor.rows() * grid.RowBytes(tensor.cols()));
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    grid.Encode(values.data() + r * tensor.cols(), tensor.cols(), nullptr,
                blocks.data() + r * grid.RowBytes(tensor.cols()));
  }
  return MakeTensor(tensor.name, grid, tensor.shape, std::move(blocks));
}

TEST(SensitivityTest, IsTheDivergenceOfTheWholeModelWithThatTensor) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix");
  std::filesystem::path path;
  for (const auto& entry :
       std::filesystem::directory_iterator(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix"))) {
    if (entry.path().extension() == ".gguf") path = entry.path();
  }
  const Checkpoint checkpoint = OpenCheckpoint(path);
  const std::shared_ptr<Ops> ops = MakeCpuOps(2);
  LoadedModel model(checkpoint, ops);
  const int64_t vocabulary = model.weights.parameters.vocabulary;
  ChunkedText chunks;
  chunks.length = 32;
  chunks.count = 3;
  for (int i = 0; i < 96; ++i) chunks.tokens.push_back((i * 131 + 7) % 512);

  ThreadPool pool(2);
  const Grid& grid = GridNamed("q4_0");
  std::vector<Tensor> rounded;
  for (const char* name : {"blk.0.attn_v.weight", "blk.1.ffn_down.weight", "token_embd.weight",
                           "blk.1.attn_q.weight"}) {
    rounded.push_back(Rounded(checkpoint.Get(name), grid));
  }
  const Sensitivity found = MeasureSensitivity(model, rounded, chunks, pool, nullptr);
  EXPECT_EQ(found.divergence.size(), rounded.size());

  const auto logits_of = [&](const LoadedModel& m, int64_t chunk) {
    const auto cache =
        ops->MakeCache({m.weights.parameters.heads, m.weights.parameters.kv_heads,
                        m.weights.parameters.head_dim, m.weights.parameters.layers, chunks.length},
                       F32Grid());
    Workspace workspace(m.weights.parameters, *ops, chunks.length);
    std::vector<float> logits(16 * vocabulary);
    Forward(m.weights, *ops, *cache, workspace, chunks.chunk(chunk), 0, 16, logits.data());
    return logits;
  };
  for (const Tensor& tensor : rounded) {
    Checkpoint changed = checkpoint;
    for (Tensor& t : changed.tensors) {
      if (t.name == tensor.name) t = tensor;
    }
    const LoadedModel whole(changed, ops);
    double sum = 0;
    for (int64_t c = 0; c < chunks.count; ++c) {
      const auto p = logits_of(model, c), q = logits_of(whole, c);
      for (int64_t t = 0; t < 15; ++t) {  // the last position predicts nothing
        double p_sum = 0, q_sum = 0, kld = 0;
        for (int64_t v = 0; v < vocabulary; ++v) {
          p_sum += std::exp(static_cast<double>(p[t * vocabulary + v]));
          q_sum += std::exp(static_cast<double>(q[t * vocabulary + v]));
        }
        for (int64_t v = 0; v < vocabulary; ++v) {
          const double lp = p[t * vocabulary + v] - std::log(p_sum);
          kld += std::exp(lp) * (lp - q[t * vocabulary + v] + std::log(q_sum));
        }
        sum += kld / (15.0 * 3);
      }
    }
    EXPECT_NEAR(found.divergence.at(tensor.name), sum, 1e-3 * sum + 1e-9) << tensor.name;
    EXPECT_GT(sum, 0) << tensor.name;
  }
}

}  // namespace
}  // namespace halftone
