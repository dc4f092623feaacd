// Metadata that is wrong, and texts that would take long.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <climits>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "tests/testing/expect_error.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/testing/vocabularies.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

using Kind = Error::Kind;
using Ids = std::vector<int32_t>;

class HostileMetadata : public testing::Test {
 protected:
  static void Refuses(Kind kind, const std::string& part, const Metadata& metadata) {
    ExpectError(kind, part, [&] { Make(metadata); });
    ExpectError(kind, "model.gguf", [&] { Make(metadata); });
  }

  // `change` makes good metadata wrong.
  template <class Change>
  static void Refuses(Kind kind, const std::string& part, Metadata metadata, const Change& change) {
    Make(metadata);
    change(metadata);
    Refuses(kind, part, metadata);
  }

  const Metadata bpe_ = BpeVocabulary({"a b"}).Get();
  const Metadata spm_ = SpmVocabulary().Get();
};

TEST_F(HostileMetadata, MissingOrUnknown) {
  Refuses(Kind::kFormat, "tokenizer.ggml.model is missing", Metadata());
  for (const char* model : {"plamo3", "none", "", "a\nb"}) {
    Refuses(Kind::kUnsupported, "is not supported", bpe_,
            [&](Metadata& m) { m.Set("tokenizer.ggml.model", std::string(model)); });
  }
  Refuses(Kind::kFormat, "tokenizer.ggml.model is missing", bpe_,
          [](Metadata& m) { m.Set("tokenizer.ggml.model", 7); });
  Refuses(Kind::kUnsupported, "unknown pre-tokenizer tokenizer.ggml.pre 'x\\x0A'", bpe_,
          [](Metadata& m) { m.Set("tokenizer.ggml.pre", std::string("x\n")); });
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    Refuses(Kind::kFormat, std::string(key) + " is missing", bpe_,
            [&](Metadata& m) { m.Erase(key); });
    Refuses(Kind::kFormat, std::string(key) + " is missing", bpe_,
            [&](Metadata& m) { m.Set(key, Array{std::vector<int32_t>(300)}); });
  }
  Refuses(Kind::kFormat, "tokenizer.ggml.scores is missing", spm_,
          [](Metadata& m) { m.Erase("tokenizer.ggml.scores"); });
  Refuses(Kind::kUnsupported, "unknown tokenizer.halftone.space_prefix", spm_,
          [](Metadata& m) { m.Set("tokenizer.halftone.space_prefix", std::string("sometimes")); });
}

TEST_F(HostileMetadata, Mismatched) {
  const std::string types = "tokenizer.ggml.token_type does not hold";
  for (const Value& value : {Value(Array{std::vector<int32_t>(256)}),
                             Value(Array{std::vector<float>(257)}), Value(Array{Strings(257)}),
                             Value(std::string("1")), Value(Array{std::vector<int32_t>()})}) {
    Refuses(Kind::kFormat, types, bpe_,
            [&](Metadata& m) { m.Set("tokenizer.ggml.token_type", value); });
  }
  for (const Value& value :
       {Value(Array{std::vector<float>(2)}), Value(Array{std::vector<int32_t>(3)}), Value(1.0f)}) {
    Refuses(Kind::kFormat, "tokenizer.ggml.scores does not hold 3 floats", spm_,
            [&](Metadata& m) { m.Set("tokenizer.ggml.scores", value); });
  }
  for (const std::string merge : {"", "a", "ab", " a", "a\n"}) {
    Refuses(Kind::kFormat, "entry 1 of tokenizer.ggml.merges is no pair", bpe_, [&](Metadata& m) {
      m.Set("tokenizer.ggml.merges", Array{Strings{"a b", merge}});
    });
  }
}

TEST_F(HostileMetadata, OddButUsable) {
  // Types that do not exist count as undefined, ids that do not exist as absent.
  Metadata metadata = bpe_;
  std::vector<int32_t> types(257, 1);
  types[0] = INT_MAX;
  types[1] = INT_MIN;
  types[2] = 0;
  metadata.Set("tokenizer.ggml.token_type", Array{types});
  for (const char* key : {"bos", "eos", "unknown", "eot", "eom", "fim_pad", "fim_pre", "fim_sep"}) {
    metadata.Set(fmt::format("tokenizer.ggml.{}_token_id", key), uint32_t{257});
  }
  EXPECT_EQ(Make(metadata)->Encode("ab", true), Ids{256});
  for (const char* key : {"bos", "eos", "unknown", "eot", "eom", "fim_pad", "fim_pre", "fim_sep"}) {
    metadata.Set(fmt::format("tokenizer.ggml.{}_token_id", key), int64_t{-1});
  }
  metadata.Set("tokenizer.ggml.add_bos_token", true);
  EXPECT_EQ(Make(metadata)->Encode("ab", true), (Ids{11, 256}));  // llama.cpp's default

  // Merges of texts that are no tokens and that no text leads to, and parts that are empty.
  metadata.Set("tokenizer.ggml.merges",
               Array{Strings{"zz zz", "a b", "ab ab", "  ", "a ", "abab abab", "a b"}});
  EXPECT_EQ(Make(metadata)->Encode("abab", false), (Ids{'a', 'b', 'a', 'b'}));

  // No token at all.
  for (Metadata empty : {bpe_, spm_}) {
    for (const char* key : {"tokenizer.ggml.token_type", "tokenizer.ggml.scores"}) empty.Erase(key);
    empty.Set("tokenizer.ggml.tokens", Array{Strings()});
    empty.Set("tokenizer.ggml.scores", Array{std::vector<float>()});
    const auto tokenizer = Make(empty);
    EXPECT_EQ(tokenizer->vocabulary(), 0);
    EXPECT_EQ(tokenizer->bos(), -1);
    EXPECT_EQ(tokenizer->Encode("abc \xFF", true), Ids{});
  }

  // Equal and empty texts.
  BpeVocabulary doubled;
  doubled.Add("", 3);
  doubled.Add("<x>", 3);
  const int32_t last = doubled.Add("<x>", 3);
  EXPECT_EQ(Make(doubled.Get())->Encode("<x>", true), Ids{last});
}

TEST_F(HostileMetadata, IdsOutsideTheVocabulary) {
  for (const Metadata& metadata : {bpe_, spm_}) {
    const auto tokenizer = Make(metadata);
    for (const int64_t id :
         {int64_t{-1}, tokenizer->vocabulary(), int64_t{INT32_MAX}, int64_t{INT32_MIN}}) {
      ExpectError(Kind::kUsage, "outside the vocabulary",
                  [&] { tokenizer->TokenText(static_cast<int32_t>(id), true); });
    }
  }
}

// ---- Texts of one piece ----

// Of this process: others may keep the machine busy.
double Seconds(const std::function<void()>& run) {
  const std::clock_t start = std::clock();
  run();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// A text of `unit` over and over, of which quadratic work would take minutes.
std::string Repeated(const std::string& unit, size_t bytes = size_t{1} << 20) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

TEST(LongTextTest, TakesLinearTime) {
  const BpeVocabulary vocabulary(
      {"a a", "aa aa", "Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "7 7", "77 7", ". .", "a B"});
  for (const std::string_view pre : PreTokenizerNames()) {
    const auto tokenizer = Make(vocabulary.Get(std::string(pre)));
    // A megabyte takes less than half a second.
    for (const char* unit :
         {"a", " ", "\n", "7", ".", "'", "한", "\xFF", "aB", " \n", "e\u0301", "a '"}) {
      const std::string text = Repeated(unit, size_t{1} << 17);
      EXPECT_LT(Seconds([&] { tokenizer->Encode(text, true); }), 3) << pre << " '" << unit << "'";
    }
  }
}

TEST(LongTextTest, TakesLinearTimeByScores) {
  SpmVocabulary vocabulary;
  vocabulary.AddBytes();
  std::string token = "a";
  for (int i = 0; i < 6; ++i) {
    vocabulary.Add(token, static_cast<float>(i));
    token += token;
  }
  const auto tokenizer = Make(vocabulary.Get());
  for (const char* unit : {"a", " ", "\n", "한", "\xFF", "\u2581"}) {
    const std::string text = Repeated(unit);
    EXPECT_LT(Seconds([&] { tokenizer->Encode(text, true); }), 10) << unit;
  }
}

TEST(LongTextTest, TakesLinearTimeWithSpecialTokens) {
  BpeVocabulary vocabulary;
  std::string run;
  for (int i = 0; i < 24; ++i) vocabulary.Add(run += ' ', 4);
  vocabulary.Add("<|a|>", 3);
  const auto tokenizer = Make(vocabulary.Get());
  for (const char* unit : {" ", "<|a|>", "<|", "<|a"}) {
    const std::string text = Repeated(unit);
    EXPECT_LT(Seconds([&] { tokenizer->Encode(text, true); }), 10) << unit;
  }
}

}  // namespace
}  // namespace halftone
