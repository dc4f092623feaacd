// Folders in AutoAWQ's layouts: every quantized weight must decode to the very floats of its own
// dequantization.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "container/container.h"
#include "tests/testing/sha256.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* grid;
};

class AwqWeightsTest : public testing::TestWithParam<Folder> {};

TEST_P(AwqWeightsTest, DecodeAsAutoAwqDoes) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  std::ifstream file(SharedPath(folder + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  EXPECT_EQ(expected.size(), 14u);
  const Checkpoint checkpoint = OpenCheckpoint(SharedPath(folder));
  EXPECT_EQ(checkpoint.container, "awq");
  // Embeddings, head, norms and the 14 weights: their parts are gone.
  EXPECT_EQ(checkpoint.tensors.size(), 3u + 2 * 2 + 14);
  for (const auto& [name, facts] : expected.items()) {
    const Tensor& tensor = checkpoint.Get(name);
    EXPECT_EQ(tensor.grid->name, GetParam().grid) << name;
    EXPECT_EQ(tensor.shape, facts["shape"].get<std::vector<int64_t>>()) << name;
    const std::vector<float> values = Decode(tensor);
    EXPECT_EQ(Sha256(values.data(), values.size() * sizeof(float)), facts["sha256_f32"]) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, AwqWeightsTest,
                         testing::Values(Folder{"tiny-awq-gemm-4bit-g128", "int4:g128:asym"},
                                         Folder{"small-awq-gemv-4bit-g64", "int4:g64:asym"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
