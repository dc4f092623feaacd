// The kinds of vocabularies that only llama.cpp has, against its own ids: small ones that testdata/
// make_llama_vocab_golden.py made, and the texts that llama-tokenize encoded with them.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/hf_tokenizer_writer.h"
#include "tokenizer/testing/ids.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

const Json& Golden() {
  static const Json golden =
      ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/llama_vocab_golden.json")), "golden");
  return golden;
}

Metadata MetadataOf(const Json& kind) {
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", kind["model"].get<std::string>());
  if (kind.contains("pre")) metadata.Set("tokenizer.ggml.pre", kind["pre"].get<std::string>());
  metadata.Set("tokenizer.ggml.tokens", Array{kind["tokens"].get<std::vector<std::string>>()});
  metadata.Set("tokenizer.ggml.token_type", Array{kind["types"].get<std::vector<int32_t>>()});
  if (kind.contains("scores")) {
    metadata.Set("tokenizer.ggml.scores", Array{kind["scores"].get<std::vector<float>>()});
  }
  if (kind.contains("merges")) {
    metadata.Set("tokenizer.ggml.merges", Array{kind["merges"].get<std::vector<std::string>>()});
  }
  if (kind.contains("lowercase")) {
    metadata.Set("tokenizer.ggml.normalizer.lowercase", kind["lowercase"].get<bool>());
  }
  return metadata;
}

class LlamaVocabGoldenTest : public testing::TestWithParam<size_t> {
 protected:
  const Json& kind() const { return Golden()["kinds"][GetParam()]; }
};

TEST_P(LlamaVocabGoldenTest, EncodesAsLlamaTokenizeDoes) {
  const auto tokenizer = Tokenizer::FromMetadata(MetadataOf(kind()), "model.gguf");
  const Json& texts = Golden()["texts"];
  ASSERT_GT(texts.size(), 200u);
  for (const bool special : {false, true}) {
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(tokenizer->Encode(texts[i].get<std::string>(), special),
                Ids(kind()[special ? "special" : "plain"][i]))
          << texts[i].dump() << (special ? " special" : "");
    }
  }
}

// tokenizer.json has no such models.
TEST_P(LlamaVocabGoldenTest, HasNoFormInTokenizerJson) {
  ExpectError(Error::Kind::kUnsupported, "has no form in tokenizer.json",
              [&] { HfTokenizerDocuments(MetadataOf(kind()), 128, "model.gguf"); });
}

INSTANTIATE_TEST_SUITE_P(Kinds, LlamaVocabGoldenTest,
                         testing::Range<size_t>(0, Golden()["kinds"].size()), [](const auto& info) {
                           const Json& kind = Golden()["kinds"][info.param];
                           return kind["model"].get<std::string>() +
                                  (kind.contains("lowercase") ? "_lowercase" : "");
                         });

TEST(PlamoTest, EveryByteMustBeAToken) {
  for (const Json& kind : Golden()["kinds"]) {
    if (kind["model"] != "plamo2") continue;
    Json cut = kind;
    cut["tokens"][260 - 256 + 0x41] = "<other>";
    ExpectError(Error::Kind::kFormat, "'<0x41>' is missing",
                [&] { Tokenizer::FromMetadata(MetadataOf(cut), "model.gguf"); });
  }
}

TEST(DnaTest, GroupsDecodeToTheirLetters) {
  for (const Json& kind : Golden()["kinds"]) {
    if (kind["model"] != "hybriddna") continue;
    const auto tokenizer = Tokenizer::FromMetadata(MetadataOf(kind), "model.gguf");
    std::string text;
    for (const int32_t id : tokenizer->Encode("the <dna>acgtac</dna>", false)) {
      text += tokenizer->TokenText(id, false);
    }
    EXPECT_EQ(text, "the <dna>ACGTAC</dna>");
  }
}

}  // namespace
}  // namespace halftone
