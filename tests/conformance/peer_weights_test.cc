// Folders that bitsandbytes and compressed-tensors wrote: every quantized weight must decode to the
// very floats of their own dequantization.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "container/container.h"
#include "container/safetensors_file.h"
#include "tests/testing/sha256.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* container;
  const char* grid;
};

// MXFP4 goes to GGUF's grid, whose levels have one zero. The file's has two: code 8 is -0.
void RestoreSignsOfZeros(const std::string& folder, const std::string& weight,
                         std::vector<float>& values) {
  const SafetensorsFile file = ReadSafetensors(SharedPath(folder + "/model.safetensors"));
  const auto packed = std::ranges::find(file.tensors, weight + "_packed", &SafetensorsTensor::name);
  ASSERT_NE(packed, file.tensors.end());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint8_t two = packed->data[i / 2];
    if ((i % 2 == 0 ? two & 15 : two >> 4) != 8) continue;
    EXPECT_EQ(values[i], 0);
    values[i] = -0.0f;
  }
}

class PeerWeightsTest : public testing::TestWithParam<Folder> {};

TEST_P(PeerWeightsTest, DecodeAsTheirOwnerDoes) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  std::ifstream file(SharedPath(folder + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  EXPECT_EQ(expected.size(), 14u);
  const Checkpoint checkpoint = OpenCheckpoint(SharedPath(folder));
  EXPECT_EQ(checkpoint.container, GetParam().container);
  // Embeddings, head, norms and the 14 weights: their parts are gone.
  EXPECT_EQ(checkpoint.tensors.size(), 3u + 2 * 2 + 14);
  for (const auto& [name, facts] : expected.items()) {
    const Tensor& tensor = checkpoint.Get(name);
    EXPECT_EQ(tensor.grid->name, GetParam().grid) << name;
    EXPECT_EQ(tensor.shape, facts["shape"].get<std::vector<int64_t>>()) << name;
    std::vector<float> values = Decode(tensor);
    if (tensor.grid->grouped == nullptr) RestoreSignsOfZeros(folder, name, values);
    EXPECT_EQ(Sha256(values.data(), values.size() * sizeof(float)), facts["sha256_f32"]) << name;
  }
}

constexpr Folder kFolders[] = {
    {"tiny-bnb-nf4", "bnb", "nf4:g64"},
    {"tiny-bnb-nf4-dq", "bnb", "nf4:g64:dq"},
    {"tiny-bnb-fp4", "bnb", "fp4:g64"},
    {"tiny-bnb-int8", "bnb", "int8:row:absmax"},
    {"tiny-ct-pack-quantized", "compressed-tensors", "int4:g128:bf16"},
    {"small-ct-pack-quantized-asym", "compressed-tensors", "int4:g32:asym:bf16"},
    {"small-ct-int8-w8a8", "compressed-tensors", "int8:row:bf16"},
    {"small-ct-fp8-dynamic", "compressed-tensors", "fp8:row:bf16"},
    {"small-ct-nvfp4a16", "compressed-tensors", "e2m1:g16:f32:bf16"},
    {"small-ct-mxfp4a16", "compressed-tensors", "mxfp4"},
};

INSTANTIATE_TEST_SUITE_P(Fixtures, PeerWeightsTest, testing::ValuesIn(kFolders),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
