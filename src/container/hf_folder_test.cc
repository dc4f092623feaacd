#include "container/hf_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

// A file with one F32 scalar.
std::string Scalar(const std::string& name, float value, const std::string& dtype = "F32") {
  return SafetensorsBytes(
      "{\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[],"data_offsets":[0,4]}})",
      ByteBuilder().Put<float>(value).bytes());
}

std::string Index(const std::string& map) { return "{\"metadata\":{},\"weight_map\":" + map + "}"; }

class HfFolderTest : public testing::Test {
 protected:
  Checkpoint Open() const { return OpenCheckpoint(folder_.path()); }
  void Refuses(Kind kind, const std::string& part) const {
    SCOPED_TRACE(part);
    ExpectError(kind, part, [&] { Open(); });
    ExpectError(kind, folder_.path().string(), [&] { Open(); });
  }

  TempFolder folder_;
};

TEST_F(HfFolderTest, ReadsOneFileWithItsDocuments) {
  folder_.Write("model.safetensors", Scalar("w", 2.5f));
  folder_.Write("config.json", "{}");
  folder_.Write("chat_template.jinja", "template");
  folder_.Write("README.md", "no document");
  for (const fs::path& path : {folder_.path(), folder_.path() / "model.safetensors"}) {
    const Checkpoint checkpoint = OpenCheckpoint(path);
    EXPECT_EQ(checkpoint.container, "safetensors");
    EXPECT_EQ(checkpoint.dialect, Dialect::kHuggingFace);
    EXPECT_EQ(Decode(checkpoint.Get("w")), std::vector<float>{2.5f});
    EXPECT_EQ(checkpoint.documents,
              (std::map<std::string, std::string>{{"config.json", "{}"},
                                                  {"chat_template.jinja", "template"}}));
    EXPECT_EQ(checkpoint.file_bytes, fs::file_size(folder_.path() / "model.safetensors"));
  }
}

TEST_F(HfFolderTest, ReadsPartsOnceEachAlsoThroughLinks) {
  fs::create_directory(folder_.path() / "elsewhere");
  folder_.Write("elsewhere/second", Scalar("b", 2));
  fs::create_symlink("elsewhere/second", folder_.path() / "part-2.safetensors");
  folder_.Write("part-1.safetensors", Scalar("a", 1));
  folder_.Write("model.safetensors.index.json",
                Index(R"({"b":"part-2.safetensors","a":"part-1.safetensors"})"));
  const Checkpoint checkpoint = Open();
  ASSERT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(checkpoint.tensors[0].name, "a");
  EXPECT_EQ(Decode(checkpoint.tensors[1]), std::vector<float>{2});
}

// As transformers does: the index says where to look, and what else lies there counts as well.
TEST_F(HfFolderTest, ReadsPartsOfSeveralDtypesAndTensorsThatTheIndexLeavesOut) {
  folder_.Write("p1",
                SafetensorsBytes(R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                                 R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},)"
                                 R"("extra":{"dtype":"I64","shape":[1],"data_offsets":[6,14]}})",
                                 ByteBuilder()
                                     .Put<uint16_t>(0x3C00)
                                     .Put<uint16_t>(0xC000)
                                     .Put<uint16_t>(0x4040)
                                     .Put<int64_t>(-7)
                                     .bytes()));
  folder_.Write("p2", Scalar("f", 0.5f));
  folder_.Write("model.safetensors.index.json", Index(R"({"h":"p1","b":"p1","f":"p2"})"));
  const Checkpoint checkpoint = Open();
  ASSERT_EQ(checkpoint.tensors.size(), 4u);
  EXPECT_EQ(Decode(checkpoint.Get("h")), (std::vector<float>{1, -2}));
  EXPECT_EQ(Decode(checkpoint.Get("b")), std::vector<float>{3});
  EXPECT_EQ(Decode(checkpoint.Get("extra")), std::vector<float>{-7});
  EXPECT_EQ(Decode(checkpoint.Get("f")), std::vector<float>{0.5f});
}

TEST_F(HfFolderTest, NamesThePartsThatAreMissing) {
  folder_.Write("model-00002-of-00003.safetensors", Scalar("b", 1));
  folder_.Write("model.safetensors.index.json", Index(R"({"a":"model-00001-of-00003.safetensors",
      "b":"model-00002-of-00003.safetensors","c":"model-00003-of-00003.safetensors"})"));
  Refuses(Kind::kIo,
          "2 of 3 parts are missing: model-00001-of-00003.safetensors, "
          "model-00003-of-00003.safetensors");
}

TEST_F(HfFolderTest, RefusesAnIndexThatLeavesTheFolder) {
  const TempFolder outside;
  const fs::path secret = outside.Write("secret.safetensors", Scalar("w", 1));
  fs::create_directory(folder_.path() / "sub");
  const std::string relative = "../" + outside.path().filename().string() + "/secret.safetensors";
  for (const std::string& part :
       {secret.string(), relative, "sub/../" + relative, std::string(""), std::string(".."),
        std::string("a\\u0000/b.safetensors"), std::string("a\\nb.safetensors")}) {
    folder_.Write("model.safetensors.index.json", Index("{\"w\":\"" + part + "\"}"));
    Refuses(Kind::kFormat, "is not a file name within the folder");
  }
}

TEST_F(HfFolderTest, RefusesAnIndexThatDoesNotFitItsParts) {
  const auto index = [&](const std::string& text) {
    folder_.Write("model.safetensors.index.json", text);
  };
  folder_.Write("p1", Scalar("a", 1));
  folder_.Write("p2", Scalar("b", 2));
  index("{");
  Refuses(Kind::kFormat, "not valid JSON");
  index(R"({"weight_map":{},"x":1e999})");
  Refuses(Kind::kFormat, "not valid JSON");
  index("[]");
  Refuses(Kind::kFormat, "no object 'weight_map'");
  index("{}");
  Refuses(Kind::kFormat, "no object 'weight_map'");
  index(R"({"weight_map":["p1"]})");
  Refuses(Kind::kFormat, "no object 'weight_map'");
  index(Index(R"({"a":1})"));
  Refuses(Kind::kFormat, "tensor 'a': the part must be a string");
  index(Index(R"({"a":"missing"})"));
  Refuses(Kind::kIo, "missing");
  index(Index(R"({"a":"p1","c":"p1"})"));
  Refuses(Kind::kFormat, "tensor 'c' is not in 'p1'");
  index(Index(R"({"a":"p2","b":"p1"})"));
  Refuses(Kind::kFormat, "is not in");
  folder_.Write("p2", Scalar("a", 2));
  index(Index(R"({"a":"p1","b":"p2"})"));
  Refuses(Kind::kFormat, "tensor 'a' lies in 'p1' and in 'p2'");
}

TEST_F(HfFolderTest, RefusesPickledWeights) {
  folder_.Write("config.json", "{}");
  Refuses(Kind::kFormat, "holds neither model.safetensors nor");
  const fs::path part = folder_.Write("pytorch_model-00001-of-00002.bin", "PK\x03\x04zip");
  Refuses(Kind::kUnsupported, "convert them to safetensors");
  fs::remove(part);
  const fs::path pickled = folder_.Write("pytorch_model.bin", "PK\x03\x04zip");
  Refuses(Kind::kUnsupported, "convert them to safetensors");
  ExpectError(Kind::kUnsupported, "convert them to safetensors", [&] { OpenCheckpoint(pickled); });
  folder_.Write("model.safetensors", Scalar("a", 1));
  EXPECT_EQ(Open().tensors.size(), 1u);
}

TEST_F(HfFolderTest, NamesTheTensorOfAnUnsupportedDtype) {
  folder_.Write("model.safetensors", Scalar("layer.weight", 1, "U32"));
  Refuses(Kind::kUnsupported, "tensor 'layer.weight': dtype U32");
}

TEST_F(HfFolderTest, LeavesOtherThingsAlone) {
  EXPECT_FALSE(IsHfFolder(folder_.path()));
  EXPECT_FALSE(IsHfFolder(folder_.path() / "missing"));
  EXPECT_FALSE(IsHfFolder(folder_.Write("notes.bin", "text, not weights")));
  ExpectError(Kind::kUnsupported, "neither a GGUF file nor", [&] { Open(); });
}

// Samples by flat index and sums that PyTorch found, of the weights widened to f32.
TEST_F(HfFolderTest, ReadsWhatTransformersSaved) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16/expected.json");
  // The second part lies in another folder and is reached through a link.
  const fs::path source = fs::absolute(SharedPath("fixtures/tiny-bf16"));
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    const bool second = name == "model-00002-of-00002.safetensors";
    fs::create_symlink((second ? source.parent_path() / "tiny-bf16-shard2" : source) / name,
                       folder_.path() / name);
  }
  const Json expected = ParseJson(ReadTextFile(source / "expected.json"), "expected.json");
  const Checkpoint checkpoint = Open();
  EXPECT_EQ(checkpoint.documents.size(), 4u);
  for (const auto& [name, facts] : expected["tensors"].items()) {
    SCOPED_TRACE(name);
    const Tensor& tensor = checkpoint.Get(name);
    EXPECT_EQ(tensor.shape, facts["shape"].get<std::vector<int64_t>>());
    const std::vector<float> values = Decode(tensor);
    double sum = 0, magnitude = 0;
    for (const float v : values) {
      sum += v;
      magnitude += std::fabs(v);
    }
    EXPECT_NEAR(sum, facts["sum"].get<double>(), 1e-9 * magnitude);
    EXPECT_NEAR(magnitude, facts["abs_sum"].get<double>(), 1e-9 * magnitude);
    for (const auto& [index, value] : facts["samples"].items()) {
      EXPECT_EQ(values.at(std::stoul(index)), value.get<float>()) << index;
    }
  }
}

}  // namespace
}  // namespace halftone
