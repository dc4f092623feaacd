// Cutting a text into the pieces that byte-pair encoding never merges across.
//
// A pre-tokenizer is a list of steps. Each step cuts every piece that the one before it left: what
// its pattern matches becomes a piece, and so does what lies between two matches. Look-ahead sees
// no further than the piece. That is the meaning of a Sequence of Split (behaviour "Isolated"),
// Digits, Punctuation and ByteLevel in Hugging Face's tokenizer.json, and of the pattern lists that
// llama.cpp keeps for each value of tokenizer.ggml.pre. Where the two lists differ the patterns
// here are tokenizer.json's, since the models were trained with them.

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"

namespace halftone {

// One row of the table: every name of tokenizer.ggml.pre that means the same.
struct PreTokenizerRow;

// What happens to a match that is a run of digits, in threes of characters from its end.
enum class Threes : uint8_t {
  kNo,
  kPieces,  // they are pieces, also the one or two characters at its beginning
  kCuts,    // the text is cut before each three, and nowhere else
};

// A step as tokenizer.json has it.
struct HfStep {
  enum class Kind : uint8_t { kSplit, kDigit, kDigits, kPunctuation, kByteLevel };
  Kind kind = Kind::kSplit;
  std::string_view pattern;  // in Oniguruma's syntax
};

class PreTokenizer {
 public:
  // `name` as in tokenizer.ggml.pre; empty means "default". Throws Error (kUnsupported), naming
  // `source`, for a name that is not in the table.
  PreTokenizer(std::string_view name, const std::string& source);

  // Whether a piece that is in the vocabulary is that token, whatever the merges say.
  bool ignore_merges() const;
  // Whether bos is added where the metadata does not say.
  bool add_bos() const;
  // Throws Error (kUnsupported) where a step is no regular expression.
  std::vector<HfStep> HfSteps() const;

  // Calls piece(begin, end), in byte offsets and in order, for each piece of `text`, which must be
  // valid UTF-8 without newer characters (ReplaceNewerCharacters).
  template <class Piece>
  void Split(std::string_view text, RegexMatcher& matcher, Piece&& piece) const {
    SplitFrom(0, text, 0, text.size(), matcher, std::ref(piece));
  }

 private:
  struct Step {
    Regex regex;
    Threes threes;
  };
  using PieceFunction = std::function<void(size_t begin, size_t end)>;

  void SplitFrom(size_t step, std::string_view text, size_t begin, size_t end,
                 RegexMatcher& matcher, const PieceFunction& piece) const;
  const PreTokenizerRow* row_;
  std::vector<Step> steps_;
};

// The value of tokenizer.ggml.pre for the steps of a tokenizer.json, each written as its regular
// expression (Digits, Punctuation and ByteLevel as the ones below); empty where no row has them.
std::string_view PreTokenizerNamed(std::span<const std::string> steps, bool ignore_merges);

// What the pre-tokenizers of tokenizer.json without a pattern of their own stand for.
extern const std::string_view kByteLevelPattern;
extern const std::string_view kPunctuationPattern;
extern const std::string_view kDigitPattern;
extern const std::string_view kDigitsPattern;

// The first name of every row, for tests.
std::vector<std::string_view> PreTokenizerNames();

}  // namespace halftone
