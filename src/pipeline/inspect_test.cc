#include "halftone/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "halftone/error.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;

class InspectTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::path(testing::TempDir()) /
           (std::string("inspect_test_") +
            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string Path(const std::string& name) const { return (dir_ / name).string(); }

  // A file of an architecture that nobody knows.
  std::string WriteUnknownModel() const {
    CheckpointPlan plan;
    plan.metadata.Set("general.architecture", Value(std::string("no-such-model")));
    plan.metadata.Set("some.number", Value(uint32_t{7}));
    plan.tensors.push_back({"first.weight", &F32Grid(), {2, 3}});
    plan.tensors.push_back({"second.weight", FindGrid("q8_0"), {1, 32}});
    const auto writer = ContainerNamed("gguf").create(Path("model.gguf"), plan);
    const std::vector<float> first = {1, -2, 3, -4, 5, 0.5f};
    std::vector<uint8_t> bytes(first.size() * sizeof(float));
    std::memcpy(bytes.data(), first.data(), bytes.size());
    writer->Append(bytes);
    std::vector<uint8_t> block(34, 2);
    block[0] = 0x00, block[1] = 0x3C;  // the f16 scale 1
    writer->Append(block);
    writer->Commit();
    return Path("model.gguf");
  }

  fs::path dir_;
};

TEST_F(InspectTest, ShowsAFileOfAnyArchitecture) {
  const std::string path = WriteUnknownModel();
  const Inspection file = Inspect(path);
  EXPECT_EQ(file.path, path);
  EXPECT_EQ(file.container, "gguf");
  EXPECT_EQ(file.architecture, "no-such-model");
  EXPECT_EQ(file.file_bytes, fs::file_size(path));
  EXPECT_EQ(file.tensor_bytes, 24u + 34u);
  EXPECT_EQ(file.parameters, 6 + 32);
  EXPECT_DOUBLE_EQ(file.bits_per_weight, 58 * 8.0 / 38);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[1].grid, "Q8_0");
  EXPECT_THAT(file.tensors[0].shape, ElementsAre(2, 3));
  EXPECT_EQ(file.tensors[1].bits_per_weight, 8.5);
  ASSERT_GE(file.metadata.size(), 2u);
  EXPECT_EQ(file.metadata[1].key, "some.number");
  EXPECT_EQ(file.metadata[1].type, "u32");
  EXPECT_EQ(file.metadata[1].value, "7");
}

TEST_F(InspectTest, DecodesTensors) {
  const std::string path = WriteUnknownModel();
  EXPECT_THAT(DecodeTensor(path, "first.weight").values, ElementsAre(1, -2, 3, -4, 5, 0.5f));
  EXPECT_EQ(DecodeTensor(path, "second.weight").values, std::vector<float>(32, 2));
}

TEST_F(InspectTest, NamesTheNearestTensor) {
  const std::string path = WriteUnknownModel();
  try {
    DecodeTensor(path, "frist.weight");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'first.weight'"));
  }
}

TEST_F(InspectTest, MissingFilesAreNamed) {
  try {
    Inspect(Path("nowhere.gguf"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nowhere.gguf"));
  }
}

TEST_F(InspectTest, WritesNumpysFormat) {
  WriteNpyFile(Path("a.npy"), {2, 3}, {1, 2, 3, 4, 5, 6});
  const std::string text = ReadTextFile(Path("a.npy"));
  // numpy's format specification, version 1.0.
  EXPECT_EQ(text.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_THAT(text, HasSubstr("'descr': '<f4'"));
  EXPECT_THAT(text, HasSubstr("'shape': (2,3,)"));
  ASSERT_EQ(text.size() % 64, 24u);
  float last;
  std::memcpy(&last, text.data() + text.size() - 4, 4);
  EXPECT_EQ(last, 6);
}

TEST_F(InspectTest, ValuesMustFillTheShape) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{2, 2}, {-1, -3}, {INT64_MAX, INT64_MAX}, {}}) {
    EXPECT_THROW(WriteNpyFile(Path("a.npy"), shape, {1, 2, 3}), Error);
  }
  EXPECT_FALSE(fs::exists(Path("a.npy")));
}

TEST_F(InspectTest, FoldersAreOfTheirFirstClass) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16/config.json");
  const fs::path path = SharedPath("fixtures/small-bf16");
  const Inspection file = Inspect(path.string());
  EXPECT_EQ(file.architecture, "LlamaForCausalLM");
  const Json config = ParseJson(ReadTextFile(path / "config.json"), "config.json");
  ASSERT_EQ(file.metadata.size(), config.size());
  for (const MetadataInfo& entry : file.metadata) {
    EXPECT_TRUE(config.contains(entry.key)) << entry.key;
  }
  EXPECT_THAT(file.metadata, Contains(AllOf(Field(&MetadataInfo::key, "hidden_size"),
                                            Field(&MetadataInfo::type, "integer"),
                                            Field(&MetadataInfo::value, "128"))));
}

// Types, shapes and sums over the values of every tensor, as ggml decodes them.
TEST_F(InspectTest, DecodesAsGgmlDoes) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf");
  const fs::path folder = SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix");
  const std::string model = folder / "model.gguf";
  const Json expected = ParseJson(ReadTextFile(folder / "expected.json"), "expected.json");
  const Inspection file = Inspect(model);
  EXPECT_EQ(file.architecture, "llama");
  ASSERT_EQ(file.tensors.size(), expected.at("tensors").size());
  for (const TensorInfo& tensor : file.tensors) {
    const Json& truth = expected.at("tensors").at(tensor.name);
    EXPECT_EQ(tensor.grid, truth.at("type")) << tensor.name;
    auto extents = truth.at("ne").get<std::vector<int64_t>>();
    std::ranges::reverse(extents);
    EXPECT_EQ(tensor.shape, extents) << tensor.name;
    double sum = 0, magnitude = 0;
    for (const float value : DecodeTensor(model, tensor.name).values) {
      sum += value;
      magnitude += std::fabs(value);
    }
    EXPECT_NEAR(sum, truth.at("sum"), 1e-9 * magnitude) << tensor.name;
    EXPECT_NEAR(magnitude, truth.at("abs_sum"), 1e-9 * magnitude) << tensor.name;
  }
}

}  // namespace
}  // namespace halftone
