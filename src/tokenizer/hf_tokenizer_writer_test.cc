// The way back from GGUF's metadata to Hugging Face's files: read again, they are the metadata that
// they came from, and encode as the files that these came from did. That real tokenizers gives the
// same ids is checked by tests/interop/documents_test.py.

#include "tokenizer/hf_tokenizer_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/testing/ids.h"
#include "tokenizer/testing/vocabularies.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

using Documents = std::map<std::string, std::string>;

const Json& Golden() {
  static const Json golden =
      ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/tokenizer_golden.json")), "golden");
  return golden;
}

Metadata Read(const Documents& documents, int64_t vocab_size) {
  return TokenizerMetadataFromHf(documents, vocab_size, "folder");
}

Documents Written(const Metadata& metadata) {
  return HfTokenizerDocuments(metadata, 128, "model.gguf");
}

std::string Dump(const Value& value) { return ValueText(value, 1u << 20); }

class WriterGoldenTest : public testing::TestWithParam<size_t> {
 protected:
  const Json& kind() const { return Golden()["kinds"][GetParam()]; }
  int64_t size() const { return kind()["vocab_size"]; }
  Metadata Original() const {
    return Read({{"tokenizer.json", kind()["tokenizer"].dump()},
                 {"tokenizer_config.json", kind()["tokenizer_config"].dump()}},
                size());
  }
};

TEST_P(WriterGoldenTest, EncodesAsTheOriginalDoes) {
  const auto tokenizer =
      Tokenizer::FromMetadata(Read(Written(Original()), size()), "written folder");
  EXPECT_EQ(tokenizer->vocabulary(), size());
  const Json& texts = Golden()["texts"];
  for (const bool special : {false, true}) {
    for (size_t i = 0; i < texts.size(); ++i) {
      SCOPED_TRACE(texts[i].dump() + (special ? " special" : ""));
      EXPECT_EQ(tokenizer->Encode(texts[i].get<std::string>(), special),
                Ids(kind()[special ? "special" : "plain"][i]));
    }
  }
}

TEST_P(WriterGoldenTest, ReadsBackAsTheSameKeys) {
  const Metadata original = Original();
  const Metadata again = Read(Written(original), size());
  for (const auto& [key, value] : original.entries()) {
    ASSERT_NE(again.Find(key), nullptr) << key;
    EXPECT_EQ(Dump(*again.Find(key)), Dump(value)) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, WriterGoldenTest,
                         testing::Range<size_t>(0, Golden()["kinds"].size()), [](const auto& info) {
                           std::string name = Golden()["kinds"][info.param]["name"];
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

// Every name that GGUF has comes back as one that means the same.
TEST(HfTokenizerWriterTest, WritesEveryPreTokenizer) {
  int written = 0;
  for (const std::string_view name : PreTokenizerNames()) {
    SCOPED_TRACE(name);
    const Metadata metadata = BpeVocabulary({"a b"}).Get(std::string(name));
    Documents documents;
    if (const auto error = Caught([&] { documents = Written(metadata); })) {
      EXPECT_EQ(error->kind(), Error::Kind::kUnsupported);
      continue;
    }
    const Metadata again = Read(documents, 300);
    const PreTokenizer expected(name, ""), actual(*again.String("tokenizer.ggml.pre"), "");
    EXPECT_EQ(actual.ignore_merges(), expected.ignore_merges());
    const auto a = actual.HfSteps(), b = expected.HfSteps();
    EXPECT_TRUE(std::ranges::equal(a, b, {}, &HfStep::pattern, &HfStep::pattern));
    EXPECT_EQ(Make(again)->add_bos(), Make(metadata)->add_bos());
    ++written;
  }
  EXPECT_EQ(written, static_cast<int>(PreTokenizerNames().size()) - 1);
}

TEST(HfTokenizerWriterTest, KeepsRolesTemplatesAndAddedTokens) {
  BpeVocabulary vocabulary;
  const int32_t begin = vocabulary.Add("<begin>", 3), end = vocabulary.Add("<end>", 3);
  vocabulary.Add("  two spaces", 4);
  Metadata metadata = vocabulary.Get();
  metadata.Set("tokenizer.ggml.bos_token_id", Value(static_cast<uint32_t>(begin)));
  metadata.Set("tokenizer.ggml.eos_token_id", Value(static_cast<uint32_t>(end)));
  metadata.Set("tokenizer.ggml.add_bos_token", Value(true));
  metadata.Set("tokenizer.ggml.add_eos_token", Value(true));
  metadata.Set("tokenizer.chat_template", Value(std::string("{{ messages }}")));
  metadata.Set("tokenizer.chat_template.tool_use", Value(std::string("{{ tools }}")));
  const Documents documents = Written(metadata);
  const Json config = ParseJson(documents.at("tokenizer_config.json"), "config");
  EXPECT_EQ(config["bos_token"], "<begin>");
  EXPECT_EQ(config["eos_token"], "<end>");
  EXPECT_EQ(config["model_max_length"], 128);
  EXPECT_FALSE(config.contains("unk_token"));
  EXPECT_EQ(ParseJson(documents.at("special_tokens_map.json"), "map").size(), 2u);
  const Metadata again = Read(documents, static_cast<int64_t>(vocabulary.tokens().size()));
  EXPECT_EQ(*again.String("tokenizer.chat_template"), "{{ messages }}");
  EXPECT_EQ(*again.String("tokenizer.chat_template.tool_use"), "{{ tools }}");
  const std::string text = "a  two spaces<end>b";
  EXPECT_EQ(Make(again)->Encode(text, true), Make(metadata)->Encode(text, true));
  EXPECT_EQ(Make(again)->Encode(text, true).front(), begin);
  EXPECT_EQ(Make(again)->Encode(text, true).back(), end);
}

// The gap that an id without a token leaves stays one.
TEST(HfTokenizerWriterTest, LeavesOutPadding) {
  BpeVocabulary vocabulary;
  vocabulary.Add("[PAD256]", 5);
  vocabulary.Add("<last>", 3);
  const Json file = ParseJson(Written(vocabulary.Get()).at("tokenizer.json"), "file");
  EXPECT_FALSE(file["model"]["vocab"].contains("[PAD256]"));
  EXPECT_EQ(file["model"]["vocab"]["<last>"], 257);
}

TEST(HfTokenizerWriterTest, RefusesWhatTokenizerJsonCannotSay) {
  using Kind = Error::Kind;
  Metadata metadata = BpeVocabulary({"a b"}).Get();
  metadata.Set("tokenizer.ggml.merges", Array{Strings{"a b", "ab c"}});
  ExpectError(Kind::kUnsupported, "'ab c'", [&] { Written(metadata); });
  metadata.Set("tokenizer.ggml.model", std::string("rwkv"));
  ExpectError(Kind::kUnsupported, "'rwkv' has no form in tokenizer.json",
              [&] { Written(metadata); });
  SpmVocabulary spm;
  for (const char* letter : {"a", "b", "c"}) spm.Add(letter, -9);
  spm.Add("ab", -1);
  EXPECT_NO_THROW(Written(spm.Get()));
  spm.Add("bc", -1);
  ExpectError(Kind::kUnsupported, "have one score", [&] { Written(spm.Get()); });
  EXPECT_TRUE(Written([] {
                Metadata none;
                none.Set("tokenizer.ggml.model", std::string("none"));
                return none;
              }())
                  .empty());
}

}  // namespace
}  // namespace halftone
