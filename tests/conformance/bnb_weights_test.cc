// Folders that bitsandbytes and transformers wrote: every quantized weight must decode to the very
// floats of bitsandbytes' own dequantization.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "container/container.h"
#include "grid/grouped.h"
#include "tests/testing/sha256.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* grid;
};

class BnbWeightsTest : public testing::TestWithParam<Folder> {};

TEST_P(BnbWeightsTest, DecodeAsBitsandbytesDoes) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  std::ifstream file(SharedPath(folder + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  EXPECT_EQ(expected.size(), 14u);
  const Checkpoint checkpoint = OpenCheckpoint(SharedPath(folder));
  EXPECT_EQ(checkpoint.container, "bnb");
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

INSTANTIATE_TEST_SUITE_P(Fixtures, BnbWeightsTest,
                         testing::Values(Folder{"tiny-bnb-nf4", "nf4:g64"},
                                         Folder{"tiny-bnb-nf4-dq", "nf4:g64:dq"},
                                         Folder{"tiny-bnb-fp4", "fp4:g64"},
                                         Folder{"tiny-bnb-int8", "int8:row:absmax"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
