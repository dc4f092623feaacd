// Folders that GPTQModel wrote: every quantized weight must decode to the very floats of its own
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
  bool ordered = false;
};

class GptqWeightsTest : public testing::TestWithParam<Folder> {};

TEST_P(GptqWeightsTest, DecodeAsGptqModelDoes) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  std::ifstream file(SharedPath(folder + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  EXPECT_EQ(expected.size(), 14u);
  const Checkpoint checkpoint = OpenCheckpoint(SharedPath(folder));
  EXPECT_EQ(checkpoint.container, "gptq");
  // Embeddings, head, norms and the 14 weights: their parts are gone.
  EXPECT_EQ(checkpoint.tensors.size(), 3u + 2 * 2 + 14);
  for (const auto& [name, facts] : expected.items()) {
    const Tensor& tensor = checkpoint.Get(name);
    EXPECT_EQ(tensor.grid->name, GetParam().grid) << name;
    EXPECT_EQ(tensor.shape, facts["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(tensor.order != nullptr, GetParam().ordered) << name;
    const std::vector<float> values = Decode(tensor);
    EXPECT_EQ(Sha256(values.data(), values.size() * sizeof(float)), facts["sha256_f32"]) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, GptqWeightsTest,
                         testing::Values(Folder{"tiny-gptq-4bit-g128", "int4:g128"},
                                         Folder{"tiny-gptq-4bit-g128-actorder", "int4:g128", true},
                                         Folder{"tiny-gptq-8bit-g128", "int8:g128"},
                                         Folder{"tiny-gptq-3bit-g64", "int3:g64"},
                                         Folder{"small-gptq-2bit-g64", "int2:g64"},
                                         // A zero of 0 borrows from its neighbour in the word.
                                         Folder{"small-gptq-4bit-g32-asym-v1", "int4:g32:asym"},
                                         Folder{"small-gptq-4bit-g64-asym-v2", "int4:g64:asym"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
