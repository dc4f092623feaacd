// Folders of GPTQModel and AutoAWQ, run: the logits are those of transformers' forward pass with
// the peers' dequantized weights.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "container/container.h"
#include "engine/session.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

class PackedLogitsTest : public testing::TestWithParam<const char*> {};

TEST_P(PackedLogitsTest, AgreeWithinAThousandthOfTheirRange) {
  const std::string folder = std::string("fixtures/") + GetParam();
  HALFTONE_NEED_SHARED(folder);
  const Checkpoint file = OpenCheckpoint(SharedPath(folder + "/expected.safetensors"));
  std::vector<int32_t> ids;
  for (const float id : Decode(file.Get("input_ids"))) ids.push_back(static_cast<int32_t>(id));
  const std::vector<float> expected = Decode(file.Get("logits"));

  const auto model = std::make_shared<const LoadedModel>(OpenCheckpoint(SharedPath(folder)),
                                                         std::shared_ptr<Ops>(MakeCpuOps(2)));
  std::vector<float> logits(expected.size());
  const auto tokens = static_cast<int64_t>(ids.size());
  Session(model, tokens).Append(ids, tokens, logits.data());
  const auto [low, high] = std::ranges::minmax(expected);
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(logits[i]) - expected[i]));
  }
  EXPECT_LT(largest / (high - low), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, PackedLogitsTest,
                         testing::Values("tiny-gptq-4bit-g128", "tiny-gptq-4bit-g128-actorder",
                                         "tiny-gptq-8bit-g128", "tiny-gptq-3bit-g64",
                                         "small-gptq-2bit-g64", "small-gptq-4bit-g32-asym-v1",
                                         "small-gptq-4bit-g64-asym-v2", "tiny-awq-gemm-4bit-g128",
                                         "small-awq-gemv-4bit-g64"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
