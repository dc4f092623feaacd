// The listings are those of repositories as people make them: names and habits, not their files.

#include "hub/select.h"

#include <gmock/gmock.h>

#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

using Listing = std::vector<std::string>;

Selection Select(const std::string& id, const Listing& listing) {
  return SelectFiles(*ParseHubId(id), listing, true);
}

const Listing kQuantizations = {".gitattributes",
                                "README.md",
                                "Model-Q8_0.gguf",
                                "Model-Q4_K_M.gguf",
                                "Model-Q4_K_S.gguf",
                                "Model-Q4_0_8_8.gguf",
                                "Model-Q4_0.gguf",
                                "Model-IQ4_XS.gguf",
                                "Model-f16.gguf",
                                "Model-bf16.gguf",
                                "mmproj-Model-f32.gguf",
                                "Model.imatrix.gguf",
                                "BIG/Model-Q6_K-00001-of-00003.gguf",
                                "BIG/Model-Q6_K-00002-of-00003.gguf",
                                "BIG/Model-Q6_K-00003-of-00003.gguf"};

TEST(SelectTest, FindsQuantizationsByTheirNames) {
  const std::pair<const char*, const char*> expected[] = {
      {"Q8_0", "Model-Q8_0.gguf"},     {"q4_k_m", "Model-Q4_K_M.gguf"},
      {"Q4_0", "Model-Q4_0.gguf"},     {"F16", "Model-f16.gguf"},
      {"bf16", "Model-bf16.gguf"},     {"Q4_0_8_8", "Model-Q4_0_8_8.gguf"},
      {"IQ4_XS", "Model-IQ4_XS.gguf"}, {"Model-Q8_0.gguf", "Model-Q8_0.gguf"}};
  for (const auto& [tag, file] : expected) {
    const Selection selection = Select(std::string("org/model:") + tag, kQuantizations);
    EXPECT_THAT(selection.files, ElementsAre(file)) << tag;
    EXPECT_EQ(selection.open, file);
  }
}

TEST(SelectTest, BringsAllPartsOfASplitFile) {
  for (const char* id : {"org/model:Q6_K", "org/model:BIG/Model-Q6_K-00001-of-00003.gguf",
                         "org/model:BIG/Model-Q6_K-00002-of-00003.gguf"}) {
    const Selection selection = Select(id, kQuantizations);
    EXPECT_THAT(selection.files, ElementsAre("BIG/Model-Q6_K-00001-of-00003.gguf",
                                             "BIG/Model-Q6_K-00002-of-00003.gguf",
                                             "BIG/Model-Q6_K-00003-of-00003.gguf"));
    EXPECT_EQ(selection.open, "BIG/Model-Q6_K-00001-of-00003.gguf");
  }
  Listing missing = kQuantizations;
  std::erase(missing, "BIG/Model-Q6_K-00002-of-00003.gguf");
  ExpectError(Error::Kind::kUsage, "'BIG/Model-Q6_K-00002-of-00003.gguf' of the split file is",
              [&] { Select("org/model:Q6_K", missing); });
}

TEST(SelectTest, NamesWhatThereIsWhereTheChoiceIsOpen) {
  ExpectError(Error::Kind::kUsage, "Model-Q8_0.gguf", [] { Select("org/model", kQuantizations); });
  ExpectError(Error::Kind::kUsage, "no file or quantization 'Q9_9'; there are: Model-Q8_0.gguf",
              [] { Select("org/model:Q9_9", kQuantizations); });
  ExpectError(Error::Kind::kUsage, "may be any of: a-Q8_0.gguf, b-Q8_0.gguf", [] {
    Select("org/model:Q8_0", {"a-Q8_0.gguf", "b-Q8_0.gguf"});
  });
}

TEST(SelectTest, TakesTheOnlyGgufFile) {
  const Selection selection =
      Select("org/model", {"README.md", "ggml-model-i2_s.gguf", "mmproj-a.gguf", "config.json"});
  EXPECT_THAT(selection.files, ElementsAre("ggml-model-i2_s.gguf"));
}

TEST(SelectTest, TakesAFolderOfSafetensorsAndNothingElseOfIt) {
  const Selection selection =
      Select("org/model",
             {".gitattributes", "README.md", "config.json", "flax_model.msgpack",
              "generation_config.json", "model.safetensors", "onnx/model.onnx",
              "original/consolidated.00.pth", "consolidated.safetensors", "pytorch_model.bin",
              "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model-Q8_0.gguf"});
  EXPECT_THAT(
      selection.files,
      UnorderedElementsAre("config.json", "generation_config.json", "model.safetensors",
                           "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"));
  EXPECT_EQ(selection.open, "");
  EXPECT_EQ(selection.index, "");
}

TEST(SelectTest, ReadsWhichPartsThereAreFromTheIndex) {
  const Listing listing = {"config.json", "model-00001-of-00002.safetensors",
                           "model-00002-of-00002.safetensors", "model.safetensors.index.json"};
  const Selection selection = Select("org/model", listing);
  EXPECT_EQ(selection.index, "model.safetensors.index.json");
  EXPECT_THAT(selection.files, UnorderedElementsAre("model.safetensors.index.json", "config.json"));
  const std::string index = R"({"weight_map": {"a": "model-00002-of-00002.safetensors",
      "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}})";
  EXPECT_THAT(IndexParts(index, "i", listing),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  for (const char* broken : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {"a": 1}})",
                             R"({"weight_map": {"a": "../../x.safetensors"}})",
                             R"({"weight_map": {"a": "config.json"}})",
                             R"({"weight_map": {"a": "model-00003-of-00002.safetensors"}})"}) {
    ExpectError(Error::Kind::kFormat, "i:", [&] { IndexParts(broken, "i", listing); });
  }
}

TEST(SelectTest, TakesASingleCheckpointOfAnotherName) {
  const Selection selection = Select(
      "org/model", {"config.json", "gptq_model-4bit-128g.safetensors", "quantize_config.json"});
  EXPECT_THAT(selection.files,
              UnorderedElementsAre("config.json", "gptq_model-4bit-128g.safetensors",
                                   "quantize_config.json"));
  EXPECT_EQ(selection.open, "gptq_model-4bit-128g.safetensors");
}

TEST(SelectTest, RefusesPickledWeightsWithAdvice) {
  for (const char* name : {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
                           "consolidated.00.pth", "model.ckpt"}) {
    ExpectError(Error::Kind::kUnsupported, "from_pretrained('org/model').save_pretrained(", [&] {
      Select("org/model", {"config.json", name});
    });
    ExpectError(Error::Kind::kUnsupported, "is pickled", [&] {
      Select(std::string("org/model:") + name, {"config.json", name});
    });
  }
  ExpectError(Error::Kind::kUnsupported, "holds neither", [] {
    Select("org/model", {"README.md", "model.onnx"});
  });
}

}  // namespace
}  // namespace halftone
