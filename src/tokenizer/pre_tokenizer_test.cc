#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/hf_tokenizer.h"
#include "tokenizer/unicode.h"

namespace halftone {
namespace {

const Json& Golden() {
  static const Json golden = ParseJson(
      ReadBytes(SourcePath("src/tokenizer/testdata/pre_tokenizer_golden.json")), "golden");
  return golden;
}

std::vector<std::string> Pieces(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::string subject(text);
  ReplaceNewerCharacters(subject);
  RegexMatcher matcher;
  std::vector<std::string> pieces;
  pre_tokenizer.Split(subject, matcher, [&](size_t begin, size_t end) {
    pieces.emplace_back(text.substr(begin, end - begin));
  });
  return pieces;
}

// The text cut into pieces of the given lengths.
std::vector<std::string> Cut(const std::string& text, const std::string& lengths) {
  std::istringstream numbers(lengths);
  std::vector<std::string> pieces;
  size_t at = 0;
  for (size_t length; numbers >> length; at += length) pieces.push_back(text.substr(at, length));
  EXPECT_EQ(at, text.size());
  return pieces;
}

std::string_view NameOf(const Json& element, bool ignore_merges) {
  const Json tokenizer = {{"pre_tokenizer", element},
                          {"model", {{"ignore_merges", ignore_merges}}}};
  return HfPreTokenizer(tokenizer, "folder");
}

TEST(PreTokenizerTest, CutsAsHuggingFaceDoes) {
  std::set<std::string> names;
  for (const Json& element : Golden()["cases"]) {
    const std::string name = element["name"];
    SCOPED_TRACE(name);
    if (name != "afmoe") {  // for which llama.cpp has code in place of a step
      EXPECT_EQ(NameOf(element["pre_tokenizer"], element["ignore_merges"]), name);
    }
    const PreTokenizer pre_tokenizer(name, "model");
    EXPECT_EQ(pre_tokenizer.ignore_merges(), element["ignore_merges"].get<bool>());
    const Json& texts = Golden()["texts"];
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(Pieces(pre_tokenizer, texts[i].get<std::string>()),
                Cut(texts[i], element["pieces"][i]));
    }
    names.insert(name);
  }
  // llama.cpp's name for the steps of "dbrx" with ignore_merges, which "llama-bpe" has too.
  names.insert("glm4");
  for (const std::string_view name : PreTokenizerNames()) {
    EXPECT_TRUE(names.contains(std::string(name))) << "no case for " << name;
  }
}

}  // namespace
}  // namespace halftone
