#include "tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <string>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/regex.h"

namespace halftone {
namespace {

// The well-formed sequences of Unicode's table 3-7: ranges of the first, second and other bytes.
struct WellFormed {
  int first[2];
  int second[2];
  int bytes;
};
constexpr WellFormed kTable[] = {
    {{0x00, 0x7F}, {0, 0}, 1},       {{0xC2, 0xDF}, {0x80, 0xBF}, 2},
    {{0xE0, 0xE0}, {0xA0, 0xBF}, 3}, {{0xE1, 0xEC}, {0x80, 0xBF}, 3},
    {{0xED, 0xED}, {0x80, 0x9F}, 3}, {{0xEE, 0xEF}, {0x80, 0xBF}, 3},
    {{0xF0, 0xF0}, {0x90, 0xBF}, 4}, {{0xF1, 0xF3}, {0x80, 0xBF}, 4},
    {{0xF4, 0xF4}, {0x80, 0x8F}, 4},
};

int WellFormedBytes(const std::string& text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : -1; };
  for (const WellFormed& row : kTable) {
    if (byte(0) < row.first[0] || byte(0) > row.first[1]) continue;
    if (row.bytes > 1 && (byte(1) < row.second[0] || byte(1) > row.second[1])) continue;
    bool tail = true;
    for (int i = 2; i < row.bytes; ++i) tail &= byte(i) >= 0x80 && byte(i) <= 0xBF;
    if (tail) return row.bytes;
  }
  return 0;
}

TEST(UnicodeTest, DecodesWhatIsWellFormed) {
  // Every pair of first bytes, followed by all that matters in the third and fourth.
  constexpr int kTails[] = {-1, 0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
  for (int first = 0; first < 256; ++first) {
    for (int second = -1; second < 256; ++second) {
      for (const int third : kTails) {
        for (const int fourth : kTails) {
          std::string text;
          for (const int byte : {first, second, third, fourth}) {
            if (byte < 0) break;
            text += static_cast<char>(byte);
          }
          const Utf8Char c = DecodeUtf8(text, 0);
          const int expected = WellFormedBytes(text);
          ASSERT_EQ(c.valid, expected > 0) << testing::PrintToString(text);
          ASSERT_EQ(c.bytes, std::max(expected, 1)) << testing::PrintToString(text);
          if (!c.valid) {
            ASSERT_EQ(c.code, static_cast<char32_t>(first));
          }
        }
      }
    }
  }
}

TEST(UnicodeTest, EncodesWhatItDecodes) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(code, text);
    const Utf8Char c = DecodeUtf8(text, 0);
    ASSERT_TRUE(c.valid);
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(static_cast<size_t>(c.bytes), text.size());
  }
}

TEST(UnicodeTest, ReplacesNewerCharactersByOnesOfTheSameLength) {
  std::string all;
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code < 0xD800 || code > 0xDFFF) AppendUtf8(code, all);
  }
  std::string replaced = all;
  ReplaceNewerCharacters(replaced);
  ASSERT_EQ(replaced.size(), all.size());
  int64_t changed = 0;
  for (size_t at = 0; at < all.size();) {
    const Utf8Char a = DecodeUtf8(all, at);
    const Utf8Char b = DecodeUtf8(replaced, at);
    ASSERT_TRUE(b.valid);
    ASSERT_EQ(a.bytes, b.bytes);
    changed += a.code != b.code;
    at += a.bytes;
  }
  // 4489, 627 and 5185 characters came with Unicode 15, 15.1 and 16; U+180E is the one besides.
  EXPECT_EQ(changed, 4489 + 627 + 5185 + 1);
}

// bytes_to_unicode of OpenAI's gpt-2/encoder.py, as every vocabulary shows it.
TEST(UnicodeTest, WritesBytesInTheAlphabetOfGpt2) {
  EXPECT_EQ(EncodeByteAlphabet(" \n\t\r"), "ĠĊĉč");
  EXPECT_EQ(EncodeByteAlphabet("a!~"), "a!~");
  EXPECT_EQ(EncodeByteAlphabet("\xA1\xAC\xAE\xFF"), "¡¬®ÿ");
  EXPECT_EQ(EncodeByteAlphabet(std::string_view("\x00\x1F\x7F\x80\xA0\xAD", 6)), "ĀğġĢłŃ");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    EXPECT_EQ(DecodeByteAlphabet(EncodeByteAlphabet(one)), one);
  }
  EXPECT_EQ(DecodeByteAlphabet("Ġ한\xFF"), " 한\xFF");
}

TEST(RegexTest, FindsMatchesInOrder) {
  const Regex regex(R"(\p{L}+|\s(?!\S))");
  RegexMatcher matcher;
  const std::string text = "1한글  x";
  auto match = matcher.Find(regex, text, 0);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 1u);
  EXPECT_EQ(match->end, 7u);
  match = matcher.Find(regex, text, match->end);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 7u);
  EXPECT_EQ(match->end, 8u);
  match = matcher.Find(regex, text, match->end);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 9u);
  EXPECT_FALSE(matcher.Find(regex, text, match->end));
}

}  // namespace
}  // namespace halftone
