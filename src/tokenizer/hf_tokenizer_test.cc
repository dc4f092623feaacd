// The translation of tokenizer.json against llama.cpp's converter (testdata/
// make_converter_golden.py), and files that are wrong.

#include "tokenizer/hf_tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/json.h"
#include "container/container.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

Json Golden(const std::string& name) {
  return ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/") + name), name);
}

std::string Hash(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : bytes) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return fmt::format("{:016x}", value);
}

// A key as make_converter_golden.py writes it.
Json Described(const std::string& key, const Value& value) {
  Json line = {key, value.index()};
  if (const auto* array = std::get_if<Array>(&value)) {
    std::string bytes;
    std::visit(
        [&](const auto& elements) {
          using T = std::decay_t<decltype(elements)>;
          if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            for (const std::string& text : elements) bytes.append(text).push_back('\0');
          } else if constexpr (std::is_same_v<T, std::vector<int32_t>> ||
                               std::is_same_v<T, std::vector<float>>) {
            bytes.assign(reinterpret_cast<const char*>(elements.data()), elements.size() * 4);
          } else {
            ADD_FAILURE() << key << " has elements of type " << array->elements.index();
          }
        },
        array->elements);
    line.push_back(array->elements.index());
    line.push_back(array->size());
    line.push_back(Hash(bytes));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (text->size() > 32) {
      line.push_back(text->size());
      line.push_back(Hash(*text));
    } else {
      line.push_back(*text);
    }
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    line.push_back(*flag);
  } else {
    line.push_back(std::get<uint32_t>(value));
  }
  return line;
}

Json Described(const Metadata& metadata) {
  Json lines = Json::array();
  for (const auto& [key, value] : metadata.entries()) lines.push_back(Described(key, value));
  return lines;
}

std::map<std::string, std::string> ReadDocuments(const std::filesystem::path& folder) {
  std::map<std::string, std::string> documents;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    documents[name] = ReadBytes(folder / name);
  }
  return documents;
}

// One kind of tokenizer_golden.json as files, which a test may change.
struct Files {
  explicit Files(const Json& kind)
      : tokenizer(kind["tokenizer"]),
        tokenizer_config(kind["tokenizer_config"]),
        vocab_size(kind["vocab_size"]) {}

  std::map<std::string, std::string> Documents() const {
    return {{"tokenizer.json", tokenizer.dump()},
            {"tokenizer_config.json", tokenizer_config.dump()},
            {"config.json", config.dump()}};
  }
  Metadata Translated() const { return TokenizerMetadataFromHf(Documents(), vocab_size, "folder"); }

  Json tokenizer;
  Json tokenizer_config;
  Json config = {{"architectures", {"LlamaForCausalLM"}}};
  int64_t vocab_size;
};

const Json& Kinds() {
  static const Json golden = Golden("tokenizer_golden.json");
  return golden["kinds"];
}

Files ByteLevelFiles() { return Files(Kinds()[0]); }
Files ByteFallbackFiles() { return Files(Kinds()[6]); }

// ---- As the converter does ----

TEST(HfTokenizerTest, WritesTheKeysOfTheConverter) {
  int cases = 0;
  for (const Json& expected : Golden("converter_golden.json")) {
    if (!expected.contains("kind")) continue;
    SCOPED_TRACE(expected["name"].get<std::string>());
    Files files(Kinds()[expected["kind"].get<size_t>()]);
    if (expected.contains("tokenizer")) {
      files.tokenizer.update(expected["tokenizer"]);
      files.tokenizer_config.update(expected["tokenizer_config"]);
      files.config.update(expected["config"]);
    }
    const Metadata metadata = files.Translated();
    if (*metadata.String("tokenizer.ggml.model") == "gpt2") {
      EXPECT_EQ(Described(metadata), expected["keys"]);
      ++cases;
    }
  }
  EXPECT_EQ(cases, 17);
}

// The converter has scores of -1000 for all tokens, and takes special tokens without a role for
// user-defined ones.
TEST(HfTokenizerTest, WritesTheKeysOfTheConverterButForScores) {
  int cases = 0;
  for (const Json& expected : Golden("converter_golden.json")) {
    if (!expected.contains("kind")) continue;
    SCOPED_TRACE(expected["name"].get<std::string>());
    const Files files(Kinds()[expected["kind"].get<size_t>()]);
    Metadata metadata = files.Translated();
    if (*metadata.String("tokenizer.ggml.model") != "llama") continue;
    const auto& scores = std::get<Array>(*metadata.Find("tokenizer.ggml.scores"));
    metadata.Set("tokenizer.ggml.scores", Array{std::vector<float>(scores.size(), -1000.0f)});
    auto types = std::get<std::vector<int32_t>>(
        std::get<Array>(*metadata.Find("tokenizer.ggml.token_type")).elements);
    ASSERT_EQ(types.back(), 3);
    types.back() = 4;
    metadata.Set("tokenizer.ggml.token_type", Array{std::move(types)});
    const std::string name = expected["name"];
    EXPECT_EQ(metadata.Find("tokenizer.ggml.merges") == nullptr, name.ends_with("scored"));
    EXPECT_EQ(metadata.Find("tokenizer.halftone.space_prefix") == nullptr,
              name.starts_with("prepend") || name.starts_with("never"));
    for (const char* key : {"tokenizer.ggml.merges", "tokenizer.halftone.space_prefix"}) {
      metadata.Erase(key);
    }
    if (name.starts_with("never")) metadata.Erase("tokenizer.ggml.add_space_prefix");
    EXPECT_EQ(Described(metadata), expected["keys"]);
    ++cases;
  }
  EXPECT_EQ(cases, 4);
}

TEST(HfTokenizerTest, WritesTheKeysOfTheConverterForAWholeModel) {
  HALFTONE_NEED_SHARED("models/ref-75m/tokenizer.json");
  const Metadata metadata =
      TokenizerMetadataFromHf(ReadDocuments(SharedPath("models/ref-75m")), 49152, "folder");
  EXPECT_EQ(Described(metadata), Golden("converter_golden.json")[0]["keys"]);
}

TEST(HfTokenizerTest, WritesTheKeysOfAConvertedFile) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16/tokenizer.json");
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf");
  const Checkpoint converted =
      OpenCheckpoint(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf").string());
  Metadata expected;
  for (const auto& [key, value] : converted.metadata.entries()) {
    if (key.starts_with("tokenizer.")) expected.Set(key, value);
  }
  EXPECT_EQ(Described(TokenizerMetadataFromHf(ReadDocuments(SharedPath("fixtures/tiny-bf16")), 512,
                                              "folder")),
            Described(expected));
}

TEST(HfTokenizerTest, TakesTheChatTemplateOfAnotherFile) {
  Files files = ByteLevelFiles();
  auto documents = files.Documents();
  documents["chat_template.json"] = R"({"chat_template": "from json"})";
  const auto chat_template = [&] {
    return *TokenizerMetadataFromHf(documents, files.vocab_size, "folder")
                .String("tokenizer.chat_template");
  };
  EXPECT_EQ(chat_template(), "from json");
  documents["chat_template.jinja"] = "from jinja";
  EXPECT_EQ(chat_template(), "from jinja");
  files.tokenizer_config["chat_template"] = "own";
  documents["tokenizer_config.json"] = files.tokenizer_config.dump();
  EXPECT_EQ(chat_template(), "own");
}

TEST(HfTokenizerTest, CountsTheVocabularyWhereNoSizeIsGiven) {
  Files files = ByteLevelFiles();
  files.vocab_size = 0;
  const auto tokenizer = Tokenizer::FromMetadata(files.Translated(), "folder");
  EXPECT_EQ(tokenizer->vocabulary(), 343);
}

TEST(HfTokenizerTest, DoesNotAddWhatOnlyThePreTokenizersNameImplies) {
  const Files files(Kinds()[1]);
  Files without = files;
  without.tokenizer["post_processor"] = nullptr;
  ASSERT_EQ(*without.Translated().String("tokenizer.ggml.pre"), "llama-bpe");
  EXPECT_TRUE(Tokenizer::FromMetadata(files.Translated(), "folder")->add_bos());
  EXPECT_FALSE(Tokenizer::FromMetadata(without.Translated(), "folder")->add_bos());
}

// ---- What is not supported ----

class Unsupported : public testing::Test {
 protected:
  // What TokenizerMetadataFromHf says with member `path` of `base`'s tokenizer.json changed.
  static void Refuses(const std::string& part, Files files, const std::string& path,
                      const Json& value) {
    SCOPED_TRACE(path + " " + value.dump());
    files.tokenizer[Json::json_pointer(path)] = value;
    ExpectError(Kind::kUnsupported, part, [&] { files.Translated(); });
    ExpectError(Kind::kUnsupported, "folder", [&] { files.Translated(); });
  }
};

TEST_F(Unsupported, Models) {
  Refuses("'WordLevel'", ByteLevelFiles(), "/model/type", "WordLevel");
  Refuses("continuing_subword_prefix", ByteLevelFiles(), "/model/continuing_subword_prefix", "##");
  Refuses("end_of_word_suffix", ByteLevelFiles(), "/model/end_of_word_suffix", "</w>");
  Refuses("dropout", ByteLevelFiles(), "/model/dropout", 0.1);
  ExpectError(Kind::kUnsupported, "no tokenizer.json", [] {
    TokenizerMetadataFromHf({{"config.json", "{}"}}, 8, "folder");
  });
}

TEST_F(Unsupported, NormalizersAndPreTokenizers) {
  const Json lowercase = {{"type", "Lowercase"}};
  Refuses("normalizer 'Lowercase'", ByteLevelFiles(), "/normalizer", lowercase);
  Refuses("normalizer 'Lowercase'", ByteLevelFiles(), "/normalizer",
          {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, lowercase}}});
  Refuses("normalizer 'Lowercase'", ByteFallbackFiles(), "/normalizer", lowercase);
  Refuses("normalizer array", ByteLevelFiles(), "/normalizer", Json::array());
  Refuses("does not mark spaces", ByteFallbackFiles(), "/normalizer", nullptr);
  Refuses("pre-tokenizer 'ByteLevel'", ByteLevelFiles(), "/pre_tokenizer/add_prefix_space", true);
  Refuses("pre-tokenizer null", ByteLevelFiles(), "/pre_tokenizer", nullptr);
  Refuses("pre-tokenizer 'Whitespace'", ByteLevelFiles(), "/pre_tokenizer",
          {{"type", "Whitespace"}});
  Refuses("pre-tokenizer 'Whitespace'", ByteFallbackFiles(), "/pre_tokenizer",
          {{"type", "Whitespace"}});
  Refuses("without ByteLevel", ByteLevelFiles(), "/pre_tokenizer",
          {{"type", "Digits"}, {"individual_digits", true}});
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", "\\w+\n"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  Refuses("the steps \\w+\\x0A is not known", ByteLevelFiles(), "/pre_tokenizer",
          {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}});
  Json merged = split;
  merged["behavior"] = "MergedWithNext";
  Refuses("'Split' with pattern \\w+\\x0A", ByteLevelFiles(), "/pre_tokenizer",
          {{"type", "Sequence"}, {"pretokenizers", {merged, bytes}}});
}

TEST_F(Unsupported, CutsThatTokensCross) {
  Files files(Kinds()[8]);
  files.tokenizer["pre_tokenizer"]["split"] = true;
  const Metadata cut = files.Translated();  // no token holds a space inside
  EXPECT_EQ(Described(cut), Described(Files(Kinds()[8]).Translated()));
  files.tokenizer["model"]["vocab"]["of\u2581the"] = 0;
  files.tokenizer["model"]["vocab"].erase("<unk>");
  files.tokenizer["added_tokens"].erase(0);
  ExpectError(Kind::kUnsupported, "cuts words apart", [&] { files.Translated(); });
}

TEST_F(Unsupported, NfcIsLeftOut) {
  Files files = ByteLevelFiles();
  const Json plain = Described(files.Translated());
  files.tokenizer["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(Described(files.Translated()), plain);
  files.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  EXPECT_EQ(Described(files.Translated()), plain);
}

// ---- Files that are wrong ----

class Hostile : public testing::Test {
 protected:
  static void Refuses(const std::string& part, const Files& files) {
    ExpectError(Kind::kFormat, part, [&] { files.Translated(); });
    ExpectError(Kind::kFormat, "folder", [&] { files.Translated(); });
  }

  static void Refuses(const std::string& part, const std::string& path, const Json& value) {
    SCOPED_TRACE(path + " " + value.dump());
    Files files = ByteLevelFiles();
    files.tokenizer[Json::json_pointer(path)] = value;
    Refuses(part, files);
  }
};

TEST_F(Hostile, NoJson) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    for (const char* text : {"", "{", "[]", "null", "7", "\"x\"", "{\"a\":1e999}"}) {
      auto documents = ByteLevelFiles().Documents();
      documents[name] = text;
      ExpectError(Kind::kFormat, std::string("folder/") + name,
                  [&] { TokenizerMetadataFromHf(documents, 346, "folder"); });
    }
  }
}

TEST_F(Hostile, Types) {
  Refuses("has no model", "/model", nullptr);
  Refuses("has no model", "/model", "BPE");
  Refuses("unexpected type", "/model/type", 7);
  Refuses("model.vocab is no object", "/model/vocab", Json::array({"a", "b"}));
  Refuses("model.merges is no array", "/model/merges", "a b");
  Refuses("model.merges is no array", "/model/merges", nullptr);
  for (const Json& merge : {Json(7), Json({"a"}), Json({"a", "b", "c"}), Json({"a", 7}), Json()}) {
    Refuses("no pair", "/model/merges/3", merge);
  }
  Refuses("unexpected type", "/pre_tokenizer/type", 7);
  Refuses("unexpected type", "/pre_tokenizer/use_regex", "yes");
}

TEST_F(Hostile, Ids) {
  Refuses("'!' the id -1,", "/model/vocab/!", -1);
  Refuses("'!' the id 346,", "/model/vocab/!", 346);
  Refuses("'!' the id 9223372036854775807,", "/model/vocab/!", INT64_MAX);
  Refuses("'!' the id 18446744073709551615,", "/model/vocab/!", UINT64_MAX);
  Refuses("'!' the id 0.5,", "/model/vocab/!", 0.5);
  Refuses("'!' the id string,", "/model/vocab/!", "0");
  Refuses("'!' the id null,", "/model/vocab/!", nullptr);
  Refuses("the id 1 to both '!' and '\"'", "/model/vocab/!", 1);
  Refuses("the id 0 to both '!' and '<a>'", "/added_tokens/1/id", 0);
  Refuses("outside the vocabulary", "/added_tokens/1/id", 1 << 30);
  Refuses("the id null", "/added_tokens/1", "<a>");
  Refuses("'a\\x0Ab' the id 400,", "/model/vocab/a\nb", 400);
}

TEST_F(Hostile, Sizes) {
  Files files = ByteLevelFiles();
  files.vocab_size = int64_t{1} << 40;
  Refuses("too large", files);
  files.vocab_size = 100;  // fewer rows than tokens
  Refuses("the tokenizer has 343 tokens but the embedding only 100 rows", files);
  // Where the size comes from the ids, one id must not make it huge.
  files.vocab_size = 0;
  for (const int64_t id : {int64_t{1} << 40, INT64_MAX}) {
    files.tokenizer["model"]["vocab"]["!"] = id;
    Refuses("outside the vocabulary of 343", files);
  }
}

TEST_F(Hostile, SpecialIds) {
  Files files = ByteLevelFiles();
  for (const int64_t id : {int64_t{-1}, int64_t{1} << 31, INT64_MIN}) {
    files.config["bos_token_id"] = id;
    Refuses("is no id for the bos token", files);
  }
  // Ids that no token has are as if absent.
  files.config["bos_token_id"] = 1 << 20;
  files.config["eos_token_id"] = 345;
  files.tokenizer_config["add_bos_token"] = true;
  const auto tokenizer = Tokenizer::FromMetadata(files.Translated(), "folder");
  EXPECT_EQ(tokenizer->bos(), 11);  // llama.cpp's default
  EXPECT_EQ(tokenizer->eos(), 345);
}

TEST_F(Hostile, MembersOfOtherTypesInTheConfigsAreAsIfAbsent) {
  const Json expected = Described(ByteLevelFiles().Translated());
  for (const Json& odd :
       {Json(7), Json::array(), Json::object(), Json(true), Json::array({{{"a", 1}}})}) {
    Files files = ByteLevelFiles();
    for (const char* key : {"bos_token", "eos_token", "additional_special_tokens", "chat_template",
                            "added_tokens_decoder", "extra_special_tokens"}) {
      files.tokenizer_config[key] = odd;
    }
    for (const char* key : {"eos_token_id", "text_config"}) {
      if (!odd.is_number()) files.config[key] = odd;
    }
    files.tokenizer["post_processor"] = odd;
    EXPECT_EQ(Described(files.Translated()), expected) << odd.dump();
  }
}

// Parsing, copying, comparing or printing must not recurse as deep as the file is nested.
TEST_F(Hostile, Nesting) {
  constexpr size_t kDepth = 300'000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  std::string objects;
  for (size_t i = 0; i < kDepth / 10; ++i) objects += "{\"processors\":[";
  for (size_t i = 0; i < kDepth / 10; ++i) objects += "]}";
  const Files files = ByteLevelFiles();
  for (const std::string& value : {deep, objects}) {
    for (const char* path :
         {"/post_processor", "/normalizer", "/pre_tokenizer", "/pre_tokenizer/type", "/decoder",
          "/model", "/model/type", "/model/vocab", "/model/vocab/!", "/model/merges",
          "/model/merges/0", "/model/dropout", "/model/ignore_merges", "/model/byte_fallback",
          "/added_tokens", "/added_tokens/0", "/added_tokens/0/content", "/added_tokens/0/id",
          "/added_tokens/0/special"}) {
      Json tokenizer = files.tokenizer;
      tokenizer[Json::json_pointer(path)] = "HERE";
      std::string text = tokenizer.dump();
      text.replace(text.find("\"HERE\""), 6, value);
      auto documents = files.Documents();
      documents["tokenizer.json"] = text;
      SCOPED_TRACE(path);
      Caught([&] { TokenizerMetadataFromHf(documents, files.vocab_size, "folder"); });
    }
    for (const char* name : {"tokenizer_config.json", "config.json", "chat_template.json"}) {
      for (const char* key : {"bos_token", "chat_template", "architectures", "text_config",
                              "added_tokens_decoder", "add_prefix_space"}) {
        auto documents = files.Documents();
        documents[name] = fmt::format("{{\"{}\":{}}}", key, value);
        Caught([&] { TokenizerMetadataFromHf(documents, files.vocab_size, "folder"); });
      }
    }
  }
}

}  // namespace
}  // namespace halftone
