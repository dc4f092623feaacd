// Whole models' tokenizers against Hugging Face's (testdata/make_folder_golden.py), and llama.cpp's
// own vocabulary tests where the environment variable HALFTONE_LLAMA_CPP names its source.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "container/container.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/testing/ids.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> FromFolder(const fs::path& folder) {
  std::map<std::string, std::string> documents;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    documents[name] = ReadBytes(folder / name);
  }
  const int64_t vocab_size = ParseJson(documents["config.json"], "config.json")["vocab_size"];
  return Tokenizer::FromMetadata(TokenizerMetadataFromHf(documents, vocab_size, folder.string()),
                                 folder.string());
}

std::unique_ptr<Tokenizer> FromGguf(const fs::path& path) {
  return Tokenizer::FromMetadata(OpenCheckpoint(path.string()).metadata, path.string());
}

void ExpectGoldenIds(const Tokenizer& tokenizer, const std::string& folder) {
  const Json golden =
      ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/folder_golden.json")), "golden");
  const Json& texts = golden["texts"];
  const Json& ids = golden["folders"][folder];
  ASSERT_GE(texts.size(), 25u);
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    SCOPED_TRACE(text);
    EXPECT_EQ(tokenizer.Encode(text, true), Ids(ids["special"][i]));
    const std::vector<int32_t> plain = tokenizer.Encode(text, false);
    EXPECT_EQ(plain, Ids(ids["plain"][i]));
    std::string decoded;
    for (const int32_t id : plain) decoded += tokenizer.TokenText(id, false);
    EXPECT_EQ(decoded, text);
  }
}

TEST(FolderTokenizerTest, EncodesAsHuggingFaceDoes) {
  HALFTONE_NEED_SHARED("models/ref-75m/tokenizer.json");
  const auto tokenizer = FromFolder(SharedPath("models/ref-75m"));
  EXPECT_EQ(tokenizer->vocabulary(), 49152);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_FALSE(tokenizer->add_bos());
  for (const int32_t id : {0, 1, 2, 3}) {
    EXPECT_EQ(tokenizer->IsEndOfGeneration(id), id == 0 || id == 2) << id;
  }
  ExpectGoldenIds(*tokenizer, "ref-75m");
}

TEST(FolderTokenizerTest, EncodesAsHuggingFaceDoesWithASmallVocabulary) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16/tokenizer.json");
  ExpectGoldenIds(*FromFolder(SharedPath("fixtures/tiny-bf16")), "tiny-bf16");
}

TEST(FolderTokenizerTest, EncodesAlikeFromGguf) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf");
  ExpectGoldenIds(*FromGguf(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf")),
                  "tiny-bf16");
}

// The model that scripts/fetch-model brings has the vocabulary of ref-75m.
TEST(FolderTokenizerTest, EncodesAlikeWithTheDemonstrationsModel) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path folder = cache ? fs::path(cache) : fs::path(home ? home : ".") / ".cache";
  const fs::path model = folder / "halftone" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!fs::exists(model)) GTEST_SKIP() << "needs the model that scripts/fetch-model brings";
  ExpectGoldenIds(*FromGguf(model), "ref-75m");
}

// ---- llama.cpp's vocabularies ----

std::vector<std::string> SplitAt(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t at; (at = text.find(separator, begin)) != std::string::npos;) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// Every vocabulary opens; those with texts beside them (.inp, .out) give llama.cpp's ids.
TEST(LlamaCppVocabularyTest, PassesItsTests) {
  const char* source = std::getenv("HALFTONE_LLAMA_CPP");
  if (source == nullptr) GTEST_SKIP() << "needs HALFTONE_LLAMA_CPP, the source of llama.cpp";
  int opened = 0;
  int passed = 0;
  int with_texts = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(source) / "models")) {
    const fs::path path = entry.path();
    if (path.extension() != ".gguf") continue;
    SCOPED_TRACE(path.filename());
    const auto tokenizer = FromGguf(path);
    ++opened;
    if (!fs::exists(path.string() + ".inp")) continue;
    ++with_texts;
    std::vector<std::string> texts =
        SplitAt(ReadBytes(path.string() + ".inp"), "\n__ggml_vocab_test__\n");
    texts.pop_back();  // what follows the last separator
    const std::vector<std::string> lines = SplitAt(ReadBytes(path.string() + ".out"), "\n");
    ASSERT_GE(lines.size(), texts.size());
    ASSERT_GE(texts.size(), 45u);
    size_t equal = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<int32_t> ids = tokenizer->Encode(texts[i], false);
      EXPECT_EQ(ids, Ids(lines[i])) << texts[i];
      equal += ids == Ids(lines[i]);
    }
    passed += equal == texts.size();
  }
  std::cout << "vocabularies: " << opened << " opened, " << passed << " of " << with_texts
            << " give the ids of llama.cpp\n";
  EXPECT_EQ(passed, with_texts);
  EXPECT_GE(with_texts, 15);
  EXPECT_GE(opened, 19);
}

}  // namespace
}  // namespace halftone
