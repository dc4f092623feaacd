// Python's case mappings and character classes against Python's answers:
// testdata/chat_templates_golden.py made their hashes.

#include "tokenizer/jinja_unicode.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/paths.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

Json Golden() {
  std::ifstream in(SourcePath("src/tokenizer/testdata/chat_templates_characters.json"));
  EXPECT_TRUE(in);
  return Json::parse(in);
}

// The characters that the golden hashes are of.
std::vector<std::string> Characters(const Json& golden) {
  std::vector<std::string> characters;
  for (const Json& range : golden["known"]) {
    for (auto code = range[0].get<uint32_t>(); code <= range[1].get<uint32_t>(); ++code) {
      if (code >= 0x700 && code % 37 != 0) continue;
      AppendUtf8(code, characters.emplace_back());
    }
  }
  return characters;
}

std::string Fnv(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return fmt::format("{:016x}", hash);
}

std::string ReprOf(std::string_view text) {
  Heap heap;
  return Repr(heap.Str(std::string(text)));
}

bool IsSpaces(std::string_view text) { return SpaceLength(text) == text.size(); }

TEST(JinjaUnicode, ChangesCharactersAsPythonDoes) {
  struct Change {
    const char* name;
    std::string (*change)(std::string_view);
  };
  const Json golden = Golden();
  const std::vector<std::string> characters = Characters(golden);
  for (const Change& c :
       {Change{"upper", Upper}, Change{"lower", Lower}, Change{"capitalize", Capitalize},
        Change{"title", Title}, Change{"repr", ReprOf}}) {
    std::string all;
    for (const std::string& character : characters) {
      all += c.change("x" + character + "Y") + c.change(character);
    }
    EXPECT_EQ(Fnv(all), golden["hashes"][c.name]) << c.name;
  }
}

TEST(JinjaUnicode, ClassifiesCharactersAsPythonDoes) {
  struct Question {
    const char* name;
    bool (*ask)(std::string_view);
  };
  const Json golden = Golden();
  const std::vector<std::string> characters = Characters(golden);
  for (const Question& q :
       {Question{"isupper", IsUpper}, Question{"islower", IsLower}, Question{"isalpha", IsAlpha},
        Question{"isalnum", IsAlnum}, Question{"isdecimal", IsDecimal},
        Question{"isdigit", IsDigit}, Question{"isnumeric", IsNumeric},
        Question{"isprintable", IsPrintable}, Question{"isspace", IsSpaces}}) {
    std::string all;
    for (const std::string& character : characters) all += q.ask(character) ? '1' : '0';
    EXPECT_EQ(Fnv(all), golden["hashes"][q.name]) << q.name;
  }
}

}  // namespace
}  // namespace halftone::jinja
