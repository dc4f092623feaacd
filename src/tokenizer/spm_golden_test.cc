// tokenizer.model files, unigram models and word pieces against the libraries that own them
// (testdata/make_spm_golden.py).

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/base64.h"
#include "base/json.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/hf_tokenizer_writer.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/testing/ids.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

const Json& Golden() {
  static const Json golden =
      ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/spm_golden.json")), "golden");
  return golden;
}

void ExpectIds(const Tokenizer& tokenizer, const Json& expected, bool special = false) {
  const Json& texts = Golden()["texts"];
  ASSERT_EQ(texts.size(), expected.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(tokenizer.Encode(texts[i].get<std::string>(), special), Ids(expected[i])) << texts[i];
  }
}

using Documents = std::map<std::string, std::string>;

std::unique_ptr<Tokenizer> Make(const Documents& documents, int64_t rows = 0) {
  return Tokenizer::FromMetadata(TokenizerMetadataFromHf(documents, rows, "folder"), "folder");
}

std::string Model(size_t i) {
  return *DecodeBase64(Golden()["models"][i]["model"].get<std::string>());
}

class SpmModelTest : public testing::TestWithParam<size_t> {};

TEST_P(SpmModelTest, EncodesAsSentencePieceDoes) {
  const auto tokenizer = Make({{"tokenizer.model", Model(GetParam())}});
  ExpectIds(*tokenizer, Golden()["models"][GetParam()]["ids"]);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
}

TEST_P(SpmModelTest, RefusesAnyPartOfItself) {
  // Whatever is missing at the end, the pieces before it are whole or the file is refused.
  const std::string model = Model(GetParam());
  for (size_t size = 0; size < model.size(); size += 1 + size / 64) {
    try {
      Make({{"tokenizer.model", model.substr(0, size)}})->Encode("some text \xC3\xA9", true);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("folder"), std::string::npos) << error.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SpmModelTest, testing::Range<size_t>(0, Golden()["models"].size()));

TEST(SpmModelSettingsTest, ComeFromTheConfiguration) {
  Documents documents = {{"tokenizer.model", Model(0)}};
  const int64_t pieces = Make(documents)->vocabulary();
  documents["tokenizer_config.json"] = fmt::format(
      R"({{"eos_token": {{"content": "<end>"}}, "add_bos_token": false, "chat_template": "hi",
          "added_tokens_decoder": {{"{}": {{"content": "<end>", "special": true}},
                                   "{}": {{"content": "<tool>", "special": false}}}}}})",
      pieces, pieces + 1);
  const auto tokenizer = Make(documents, pieces + 4);
  EXPECT_EQ(tokenizer->vocabulary(), pieces + 4);
  EXPECT_EQ(tokenizer->eos(), pieces);
  EXPECT_FALSE(tokenizer->add_bos());
  const auto tool = static_cast<int32_t>(pieces + 1);
  EXPECT_EQ(tokenizer->Encode("<tool>", true), std::vector<int32_t>{tool});
  const Metadata metadata = TokenizerMetadataFromHf(documents, pieces + 4, "folder");
  EXPECT_EQ(*metadata.String("tokenizer.chat_template"), "hi");
  EXPECT_EQ(metadata.Strings("tokenizer.ggml.tokens")->back(), fmt::format("[PAD{}]", pieces + 3));
  ExpectError(
      Kind::kFormat,
      fmt::format("the tokenizer has {} tokens but the embedding only 300 rows", pieces + 2),
      [&] { Make(documents, 300); });
}

TEST(UnigramTest, EncodesAsTokenizersDoes) {
  const Json& kind = Golden()["unigram"];
  ExpectIds(*Make({{"tokenizer.json", kind["tokenizer"].dump()}}), kind["ids"], true);
}

// What is written of it is read as the same.
TEST(UnigramTest, EncodesTheSameWhenWritten) {
  const Json& kind = Golden()["unigram"];
  const Metadata metadata =
      TokenizerMetadataFromHf({{"tokenizer.json", kind["tokenizer"].dump()}}, 0, "folder");
  ExpectIds(*Make(HfTokenizerDocuments(metadata, 128, "model.gguf")), kind["ids"], true);
}

// The vocabulary in a tokenizer.json, and what is written of that.
TEST(WordPieceTest, IsReadAndWritten) {
  Json vocabulary = Json::object();
  for (const Json& token : Golden()["words"]["vocabulary"]) {
    vocabulary[token.get<std::string>()] = vocabulary.size();
  }
  const auto special = [](const char* text) { return Json{{"SpecialToken", {{"id", text}}}}; };
  Json added = Json::array();
  for (const char* text : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    added.push_back({{"id", vocabulary[text]}, {"content", text}, {"special", true}});
  }
  Json file = {{"added_tokens", added},
               {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
               {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
               {"post_processor",
                {{"type", "TemplateProcessing"},
                 {"single", {special("[CLS]"), {{"Sequence", {{"id", "A"}}}}, special("[SEP]")}}}},
               {"model",
                {{"type", "WordPiece"},
                 {"unk_token", "[UNK]"},
                 {"continuing_subword_prefix", "##"},
                 {"max_input_chars_per_word", 100},
                 {"vocab", vocabulary}}}};
  const auto read = [&] {
    return TokenizerMetadataFromHf(
        {{"tokenizer.json", file.dump()},
         {"tokenizer_config.json", R"({"cls_token": "[CLS]", "sep_token": "[SEP]"})"}},
        0, "folder");
  };
  const Metadata metadata = read();
  EXPECT_EQ(*metadata.String("tokenizer.ggml.model"), "bert");
  const auto tokenizer = Tokenizer::FromMetadata(metadata, "folder");
  ExpectIds(*tokenizer, Golden()["words"]["ids"]);
  EXPECT_EQ(tokenizer->Encode("", true), (std::vector<int32_t>{2, 3}));
  // U+061D is punctuation since Unicode 14 only, which tokenizers does not know.
  EXPECT_EQ(tokenizer->Encode("a\u061Db", false).size(), 1u);
  const auto again = Make(HfTokenizerDocuments(metadata, 128, "model.gguf"));
  ExpectIds(*again, Golden()["words"]["ids"]);
  EXPECT_EQ(again->Encode("", true), (std::vector<int32_t>{2, 3}));

  const auto refuses = [&](const std::string& part, const char* path, const Json& value) {
    const Json whole = file;
    file[Json::json_pointer(path)] = value;
    ExpectError(Kind::kUnsupported, part, read);
    file = whole;
  };
  refuses("normalizer 'Lowercase'", "/normalizer/type", "Lowercase");
  refuses("clean_text 'false'", "/normalizer/clean_text", false);
  refuses("pre-tokenizer 'Whitespace'", "/pre_tokenizer/type", "Whitespace");
  refuses("max_input_chars_per_word '50'", "/model/max_input_chars_per_word", 50);
  refuses("without one token before and one after", "/post_processor", nullptr);
}

// The vocabulary as llama.cpp's converter writes it.
TEST(WordPieceTest, EncodesAsTokenizersDoes) {
  std::vector<std::string> tokens;
  for (const Json& token : Golden()["words"]["vocabulary"]) {
    const std::string text = token;
    const bool special = text.starts_with('[') && text.size() > 1;
    tokens.push_back(special                  ? text
                     : text.starts_with("##") ? text.substr(2)
                                              : std::string(kSpaceMark) + text);
  }
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("bert"));
  std::vector<int32_t> types(tokens.size(), 1);
  for (size_t i = 0; i < 4; ++i) types[i] = 3;
  metadata.Set("tokenizer.ggml.tokens", Array{tokens});
  metadata.Set("tokenizer.ggml.token_type", Array{types});
  metadata.Set("tokenizer.ggml.unknown_token_id", uint32_t{1});
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{2});
  metadata.Set("tokenizer.ggml.seperator_token_id", uint32_t{3});
  const auto tokenizer = Tokenizer::FromMetadata(metadata, "model.gguf");
  ExpectIds(*tokenizer, Golden()["words"]["ids"]);
  EXPECT_EQ(tokenizer->Encode("", true), (std::vector<int32_t>{2, 3}));
}

// Of ChatRWKV's algorithm: the longest token first.
TEST(RwkvTest, TakesTheLongestToken) {
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("rwkv"));
  metadata.Set("tokenizer.ggml.tokens",
               Array{std::vector<std::string>{"<s>", "\\x00", "a", "ab", "abcd", "\\n", " a",
                                              "\\xe4\\xb8", "\\\\", "\\'"}});
  const auto tokenizer = Tokenizer::FromMetadata(metadata, "model.gguf");
  EXPECT_EQ(tokenizer->Encode("aab", false), (std::vector<int32_t>{2, 3}));
  const std::vector<int32_t> ids = tokenizer->Encode("abcda\n a\\'\xE4\xB8", false);
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 2, 5, 6, 8, 9, 7}));
  std::string decoded;
  for (const int32_t id : ids) decoded += tokenizer->TokenText(id, false);
  EXPECT_EQ(decoded, "abcda\n a\\'\xE4\xB8");
  EXPECT_EQ(tokenizer->Encode("xa", false), std::vector<int32_t>{2});  // there is no unknown token
}

}  // namespace
}  // namespace halftone
