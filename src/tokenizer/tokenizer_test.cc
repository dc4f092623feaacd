// Encoding and decoding against plain definitions of the algorithms, and special tokens. Equality
// with other programs is for tokenizer_golden_test.cc and folder_tokenizer_test.cc.

#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/testing/vocabularies.h"
#include "tokenizer/unicode.h"

namespace halftone {
namespace {

using Ids = std::vector<int32_t>;

std::string Decode(const Tokenizer& tokenizer, const Ids& ids, bool special = true) {
  std::string text;
  for (const int32_t id : ids) text += tokenizer.TokenText(id, special);
  return text;
}

// ---- Against the definitions ----

// Merges the pair of the lowest rank, the leftmost of equals, until none is left.
Strings MergedByRank(Strings symbols, const Strings& merges) {
  for (;;) {
    size_t best = merges.size();
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = std::ranges::find(merges, symbols[i] + " " + symbols[i + 1]);
      const auto rank = static_cast<size_t>(it - merges.begin());
      if (rank < best) {
        best = rank;
        place = i;
      }
    }
    if (best == merges.size()) return symbols;
    symbols[place] += symbols[place + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

// Random merges of letters and of earlier results.
Strings RandomMerges(std::mt19937& random, const std::string& letters, int count) {
  Strings parts;
  for (const char c : letters) parts.emplace_back(1, c);
  Strings merges;
  for (int i = 0; i < count; ++i) {
    const std::string left = parts[random() % parts.size()];
    const std::string right = parts[random() % parts.size()];
    if (left.size() + right.size() > 12) continue;
    const std::string merge = left + " " + right;
    if (std::ranges::find(merges, merge) != merges.end()) continue;
    merges.push_back(merge);
    parts.push_back(left + right);
  }
  return merges;
}

TEST(BpeTest, MergesByRankPiecesOfAnyLength) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const Strings merges = RandomMerges(random, "abc", 40);
    const BpeVocabulary vocabulary(merges);
    const auto tokenizer = Make(vocabulary.Get());
    // Short pieces and long ones are merged by different code; 48 bytes are the border.
    for (const size_t length : {1, 2, 3, 7, 20, 46, 47, 48, 49, 50, 51, 100, 300}) {
      std::string text;
      Strings letters;
      for (size_t i = 0; i < length; ++i) {
        text += static_cast<char>('a' + random() % 3);
        letters.emplace_back(1, text.back());
      }
      Ids expected;
      for (const std::string& symbol : MergedByRank(letters, merges)) {
        const auto it = std::ranges::find(vocabulary.tokens(), symbol);
        expected.push_back(static_cast<int32_t>(it - vocabulary.tokens().begin()));
      }
      EXPECT_EQ(tokenizer->Encode(text, false), expected) << text;
    }
  }
}

// Merges that make no token lie on the way to others; where they end, their bytes are left.
TEST(BpeTest, MergesThroughSymbolsThatAreNoTokens) {
  BpeVocabulary bytes;
  const int32_t abc = bytes.Add("abc", 1);
  Metadata metadata = bytes.Get();
  metadata.Set("tokenizer.ggml.merges", Array{Strings{"a b", "ab c"}});
  const auto tokenizer = Make(metadata);
  EXPECT_EQ(tokenizer->Encode("abc", false), Ids{abc});
  EXPECT_EQ(tokenizer->Encode("abd", false), (Ids{'a', 'b', 'd'}));
}

TEST(BpeTest, TakesTheFirstOfTwoEqualMerges) {
  const auto tokenizer = Make(BpeVocabulary({"b c", "a b", "b c"}).Get());
  EXPECT_EQ(tokenizer->Encode("abc", false), (Ids{'a', 256}));
}

// Each run of bytes that are no UTF-8 is a piece of its own, merged like others.
TEST(BpeTest, EncodesInvalidUtf8ByteByByte) {
  const std::string bad = EncodeByteAlphabet("\xFE") + " " + EncodeByteAlphabet("\xFF");
  const std::string across = "a " + EncodeByteAlphabet("\xFE");
  const auto tokenizer = Make(BpeVocabulary({bad, across}).Get());
  EXPECT_EQ(tokenizer->Encode("a\xFE\xFF", false), (Ids{'a', 256}));
  EXPECT_EQ(tokenizer->Encode("\xED\xA0\x80", false), (Ids{0xED, 0xA0, 0x80}));  // a surrogate
  EXPECT_EQ(tokenizer->Encode("\xC0\x80x\xE3\x81", false), (Ids{0xC0, 0x80, 'x', 0xE3, 0x81}));
}

TEST(BpeTest, EncodesBytesThatAreNoTokensAsUnknown) {
  Metadata metadata = BpeVocabulary().Get();
  Strings tokens = BpeVocabulary().tokens();
  tokens['x'] = "no longer x";
  metadata.Set("tokenizer.ggml.tokens", Array{tokens});
  EXPECT_EQ(Make(metadata)->Encode("axb", false), (Ids{'a', 'b'}));
  metadata.Set("tokenizer.ggml.unknown_token_id", uint32_t{7});
  EXPECT_EQ(Make(metadata)->Encode("axb", false), (Ids{'a', 7, 'b'}));
}

TEST(BpeTest, DecodesToAnyBytes) {
  std::mt19937 random(2);
  const Strings merges = RandomMerges(random, "abc", 30);
  for (const std::string_view pre : PreTokenizerNames()) {
    const auto tokenizer = Make(BpeVocabulary(merges).Get(std::string(pre)));
    for (int round = 0; round < 30; ++round) {
      std::string text;
      const size_t length = random() % 200;
      while (text.size() < length) {
        switch (random() % 4) {
          case 0:
            text += static_cast<char>(random());
            break;
          case 1:
            text += "abc 12\n\t'."[random() % 10];
            break;
          case 2:
            AppendUtf8(random() % 0xD800, text);
            break;
          default:
            AppendUtf8(0xE000 + random() % (0x110000 - 0xE000), text);
        }
      }
      EXPECT_EQ(Decode(*tokenizer, tokenizer->Encode(text, false)), text) << pre;
    }
  }
}

// The pair whose token has the highest score, the leftmost of equals, until none is a token.
Strings MergedByScore(Strings symbols, const std::map<std::string, float>& scores) {
  for (;;) {
    const float* best = nullptr;
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = scores.find(symbols[i] + symbols[i + 1]);
      if (it != scores.end() && (best == nullptr || it->second > *best)) {
        best = &it->second;
        place = i;
      }
    }
    if (best == nullptr) return symbols;
    symbols[place] += symbols[place + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

TEST(SpmTest, MergesByScore) {
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    SpmVocabulary vocabulary;
    std::map<std::string, float> scores;
    std::map<std::string, int32_t> ids;
    for (const char* letter : {"a", "b", "한", "\u2581"}) {
      scores[letter] = -100;
      ids[letter] = vocabulary.Add(letter, -100);
    }
    for (const std::string& merge : RandomMerges(random, "ab", 30)) {
      std::string text = merge;
      text.erase(text.find(' '), 1);
      if (random() % 4 == 0) text = "\u2581" + text;
      if (ids.contains(text)) continue;
      scores[text] = -static_cast<float>(random() % 8);  // with equals
      ids[text] = vocabulary.Add(text, scores[text]);
    }
    const auto tokenizer = Make(vocabulary.Get());
    for (const int length : {1, 2, 5, 30, 200}) {
      std::string text;
      Strings symbols = {"\u2581"};
      for (int i = 0; i < length; ++i) {
        const auto pick = random() % 8;
        const std::string symbol = pick == 0 ? "한" : pick == 1 ? " " : pick < 5 ? "a" : "b";
        text += symbol;
        symbols.push_back(symbol == " " ? "\u2581" : symbol);
      }
      Ids expected;
      for (const std::string& symbol : MergedByScore(symbols, scores)) {
        expected.push_back(ids.at(symbol));
      }
      EXPECT_EQ(tokenizer->Encode(text, false), expected) << text;
    }
  }
}

TEST(SpmTest, FallsBackToBytesAndThenToUnknown) {
  SpmVocabulary vocabulary;
  const int32_t mark = vocabulary.Add("\u2581", -1);
  const auto without = Make(vocabulary.Get());
  EXPECT_EQ(without->Encode("é", false), (Ids{mark, 0}));  // as SentencePiece: one for all
  vocabulary.AddBytes();
  const auto with = Make(vocabulary.Get());
  const int32_t zero = mark + 1;
  EXPECT_EQ(with->Encode("é", false), (Ids{mark, zero + 0xC3, zero + 0xA9}));
  EXPECT_EQ(with->Encode("\xE2\x82", false), (Ids{mark, zero + 0xE2, zero + 0x82}));
  EXPECT_EQ(with->Encode("\xFFx", false), (Ids{mark, zero + 0xFF, zero + 'x'}));
  EXPECT_EQ(Decode(*with, with->Encode("a\xE2\x82 é\xFF", false)), " a\xE2\x82 é\xFF");
}

TEST(SpmTest, DoesNotMakeControlTokensOfTheirSpelling) {
  SpmVocabulary vocabulary;
  const int32_t less = vocabulary.Add("<", -1);
  const int32_t s = vocabulary.Add("s", -1);
  const int32_t more = vocabulary.Add(">", -1);
  vocabulary.Add("<s", -1);
  Metadata metadata = vocabulary.Get();
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(Make(metadata)->Encode("<s>", false), (Ids{6, more}));
  EXPECT_EQ(Make(metadata)->Encode("<s>", true), (Ids{1, 1}));  // bos is added
  EXPECT_EQ(Make(metadata)->Encode("<ss", false), (Ids{6, s}));
  EXPECT_EQ(less, 3);
}

TEST(SpmTest, PutsASpaceBeforeTheText) {
  SpmVocabulary vocabulary;
  const int32_t mark = vocabulary.Add("\u2581", -1);
  const int32_t a = vocabulary.Add("a", -1);
  const int32_t cut = vocabulary.Add("<x>", 0, 4);
  Metadata metadata = vocabulary.Get();
  const auto encode = [&](const std::string& text) { return Make(metadata)->Encode(text, false); };
  // As llama.cpp: everywhere.
  EXPECT_EQ(encode("a<x>a"), (Ids{mark, a, cut, mark, a}));
  EXPECT_EQ(encode(" a<x> a"), (Ids{mark, mark, a, cut, mark, mark, a}));
  EXPECT_EQ(encode(""), Ids{});
  // As Hugging Face's Metaspace.
  metadata.Set("tokenizer.halftone.space_prefix", std::string("missing"));
  EXPECT_EQ(encode("a<x>a"), (Ids{mark, a, cut, mark, a}));
  EXPECT_EQ(encode(" a<x> a"), (Ids{mark, a, cut, mark, a}));
  EXPECT_EQ(encode("\u2581a"), (Ids{mark, a}));
  metadata.Set("tokenizer.halftone.space_prefix", std::string("first"));
  EXPECT_EQ(encode("a<x>a"), (Ids{mark, a, cut, a}));
  EXPECT_EQ(encode("<x>a"), (Ids{cut, a}));
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(encode("a<x>a"), (Ids{a, cut, a}));
}

// ---- Special tokens ----

TEST(SpecialTokensTest, AreFoundOnRequest) {
  BpeVocabulary vocabulary;
  const int32_t control = vocabulary.Add("<|c|>", 3);
  const int32_t user = vocabulary.Add("<u>", 4);
  const int32_t longer = vocabulary.Add("<u><v>", 4);
  const int32_t unused = vocabulary.Add("<n>", 5);
  const auto tokenizer = Make(vocabulary.Get());
  EXPECT_EQ(tokenizer->Encode("<|c|>", true), Ids{control});
  EXPECT_EQ(tokenizer->Encode("<|c|>", false), (Ids{'<', '|', 'c', '|', '>'}));
  EXPECT_EQ(tokenizer->Encode("<u>", false), Ids{user});
  EXPECT_EQ(tokenizer->Encode("<u><u><v>x", false), (Ids{user, longer, 'x'}));
  EXPECT_EQ(tokenizer->Encode("<n>", true), (Ids{'<', 'n', '>'}));
  // Control tokens are silent unless asked for; unused ones always.
  EXPECT_EQ(tokenizer->TokenText(control, false), "");
  EXPECT_EQ(tokenizer->TokenText(control, true), "<|c|>");
  EXPECT_EQ(tokenizer->TokenText(user, false), "<u>");
  EXPECT_EQ(tokenizer->TokenText(unused, true), "");
}

TEST(SpecialTokensTest, AreAddedAroundTheText) {
  BpeVocabulary vocabulary;
  const auto bos = static_cast<uint32_t>(vocabulary.Add("<s>", 3));
  const auto eos = static_cast<uint32_t>(vocabulary.Add("</s>", 3));
  Metadata metadata = vocabulary.Get();
  metadata.Set("tokenizer.ggml.bos_token_id", bos);
  metadata.Set("tokenizer.ggml.eos_token_id", eos);
  EXPECT_EQ(Make(metadata)->Encode("a", true), Ids{'a'});
  metadata.Set("tokenizer.ggml.add_bos_token", true);
  metadata.Set("tokenizer.ggml.add_eos_token", true);
  const auto tokenizer = Make(metadata);
  EXPECT_EQ(tokenizer->Encode("a", true), (Ids{256, 'a', 257}));
  EXPECT_EQ(tokenizer->Encode("", true), (Ids{256, 257}));
  EXPECT_EQ(tokenizer->Encode("a", false), Ids{'a'});
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->bos(), 256);
  EXPECT_EQ(tokenizer->eos(), 257);
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(257));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(256));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(-1));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(1 << 30));
}

TEST(SpecialTokensTest, EndGenerationByTheirTexts) {
  BpeVocabulary vocabulary;
  const int32_t im_end = vocabulary.Add("<|im_end|>", 1);  // a control token all the same
  const int32_t pad = vocabulary.Add("<|fim_pad|>", 3);
  const int32_t middle = vocabulary.Add("<|fim_middle|>", 3);
  const auto eom = static_cast<uint32_t>(vocabulary.Add("<other>", 3));
  Metadata metadata = vocabulary.Get();
  metadata.Set("tokenizer.ggml.eom_token_id", eom);
  const auto tokenizer = Make(metadata);
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(im_end));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(pad));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(middle));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(static_cast<int32_t>(eom)));
  EXPECT_EQ(tokenizer->Encode("<|im_end|>", true), Ids{im_end});
}

TEST(SpecialTokensTest, OfPhi3SwallowTheSpaceAfterThem) {
  SpmVocabulary vocabulary;
  vocabulary.AddBytes();
  const int32_t user = vocabulary.Add("<|user|>", 0, 3);
  Metadata metadata = vocabulary.Get();
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  metadata.Set("tokenizer.ggml.add_bos_token", false);
  const int32_t zero = 3;
  EXPECT_EQ(Make(metadata)->Encode("<|user|>\n a", true).size(), 6u);
  metadata.Set("general.name", std::string("Phi-3 Mini"));
  EXPECT_EQ(Make(metadata)->Encode("<|user|>\n a <|user|> ", true),
            (Ids{user, zero + 'a', zero + 0xE2, zero + 0x96, zero + 0x81, user}));
}

// Longer tokens first; among equally long ones the leftmost.
TEST(SpecialTokensTest, MayOverlap) {
  BpeVocabulary vocabulary;
  std::map<std::string, int32_t> tokens;
  std::mt19937 random(4);
  for (int i = 0; i < 12; ++i) {
    std::string text;
    for (size_t n = 1 + random() % 5; text.size() < n;) text += "xyz"[random() % 3];
    if (!tokens.contains(text)) tokens[text] = vocabulary.Add(text, 4);
  }
  const auto tokenizer = Make(vocabulary.Get());
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (size_t n = random() % 40; text.size() < n;) text += "xyzw"[random() % 4];
    Ids ids(text.begin(), text.end());
    Ids expected = ids;
    std::vector<bool> taken(text.size());
    for (size_t length = 5; length > 0; --length) {
      for (size_t at = 0; at + length <= text.size(); ++at) {
        const auto token = tokens.find(text.substr(at, length));
        const auto begin = taken.begin() + static_cast<ptrdiff_t>(at);
        const auto end = begin + static_cast<ptrdiff_t>(length);
        if (token == tokens.end() || std::find(begin, end, true) != end) continue;
        std::fill(begin, end, true);
        std::fill_n(expected.begin() + static_cast<ptrdiff_t>(at), length, -1);
        expected[at] = token->second;
      }
    }
    std::erase(expected, -1);
    EXPECT_EQ(tokenizer->Encode(text, false), expected) << text;
  }
}

}  // namespace
}  // namespace halftone
