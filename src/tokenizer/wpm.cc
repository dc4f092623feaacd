// BERT's word pieces (Devlin et al. 2019; Schuster and Nakajima 2012).
//
// Control characters go, white space cuts, accents and capitals are taken off (unless
// tokenizer.ggml.normalizer.strip_accents or .lowercase say otherwise), and every punctuation mark
// and Chinese character is a word of its own. A word is cut from the left, always at its longest
// token; if that does not come out, or the word has more than 100 characters, it is one unknown
// token. In GGUF a token that begins a word has U+2581 before it, and one that goes on has no "##".
// Around a text stand the tokens bos ("[CLS]") and separator ("[SEP]").
//
// Punctuation is that of today's Unicode, as in llama.cpp. With tokenizer.halftone.unicode_8, which
// a tokenizer.json becomes, it is that of Unicode 8, as in tokenizers, and so are accents and
// control characters. llama.cpp ignores the key.
//
// Source: BertNormalizer, BertPreTokenizer and WordPiece in github.com/huggingface/tokenizers.

#include <algorithm>
#include <utility>

#include "tokenizer/base_characters.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/regex.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include "tokenizer/younger_characters.h"

namespace halftone {
namespace {

constexpr size_t kLongestWord = 100;  // characters

// What is cleaned away; white space among it stays.
constexpr std::string_view kControl = R"((?:(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\x{FFFD}])++)";
constexpr std::string_view kAccents = R"(\p{Mn}+)";
// A punctuation mark, or what lies between two.
constexpr std::string_view kWords = R"([\p{P}$+<=>^`|~]|[^\s\p{Z}\p{P}$+<=>^`|~]+)";

// The gap before U+2B920 is an accident of BERT's successors and part of the format.
bool IsChinese(char32_t code) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::ranges::any_of(
      kRanges, [&](const auto& range) { return code >= range.first && code <= range.second; });
}

// Appends what is left of a character without its accents.
void AppendBase(char32_t code, std::string& out) {
  constexpr char32_t kSyllables = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
  const auto at = [&](char32_t first, const auto& table) {
    const size_t i = code - first;
    return code >= first && i < std::size(table) && table[i] != 0 ? table[i] : code;
  };
  if (code >= kSyllables && code < kSyllables + 19 * 21 * 28) {
    const char32_t syllable = code - kSyllables;
    AppendUtf8(kLead + syllable / (21 * 28), out);
    AppendUtf8(kVowel + syllable / 28 % 21, out);
    if (syllable % 28 != 0) AppendUtf8(kTail + syllable % 28, out);
    return;
  }
  code = at(kCompatibilityFirst, kCompatibility);
  code = at(kCompatibilitySupplementFirst, kCompatibilitySupplement);
  const auto* text = std::ranges::lower_bound(kBaseTexts, code, {}, &BaseText::code);
  if (text != std::end(kBaseTexts) && text->code == code) {
    out += text->text;
    return;
  }
  const auto* run = std::ranges::upper_bound(kBaseRuns, code, {}, &BaseRun::first);
  if (run != std::begin(kBaseRuns) && code <= std::prev(run)->last) {
    code = std::prev(run)->base + (code - std::prev(run)->first) * std::prev(run)->step;
  }
  AppendUtf8(code, out);
}

// Replaces what Unicode 8 does not know, or knows as another kind, by a character of as many bytes
// that it knows so.
void ReplaceYoungerCharacters(std::string& text) {
  constexpr const char* kLetters[] = {"", "", "\u00AA", "\u3042", "\U00010000"};
  constexpr const char* kMarks[] = {"", "", "\u00A7", "\u2020", "\U00010100"};
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    const auto bytes = static_cast<size_t>(c.bytes);
    const auto* after =
        std::ranges::upper_bound(kYoungerCharacters, c.code, {}, &CharacterRange::first);
    if (c.code == 0x166D || c.code == 0x111C9) {
      text.replace(at, bytes, kMarks[bytes]);
    } else if (after != std::begin(kYoungerCharacters) && c.code <= std::prev(after)->last) {
      text.replace(at, bytes, kLetters[bytes]);
    }
    at += bytes;
  }
}

class WpmTokenizer : public VocabularyTokenizer {
 public:
  WpmTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, {.bos = 101, .unknown = 100, .add_bos = true}, source),
        lowercase_(metadata.Bool("tokenizer.ggml.normalizer.lowercase").value_or(true)),
        strip_accents_(
            metadata.Bool("tokenizer.ggml.normalizer.strip_accents").value_or(lowercase_)),
        unicode_8_(metadata.Bool("tokenizer.halftone.unicode_8").value_or(false)) {
    const int64_t separator = metadata.Int("tokenizer.ggml.seperator_token_id").value_or(102);
    if (separator >= 0 && separator < vocabulary_.size()) {
      separator_ = static_cast<int32_t>(separator);
    }
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      const std::string_view token = vocabulary_.text(id);
      if (token.starts_with(kSpaceMark) && token.size() > kSpaceMark.size()) {
        begins_.Insert(token.substr(kSpaceMark.size()), id);
      } else {
        goes_on_.Insert(token, id);
      }
    }
  }

  std::vector<int32_t> Encode(std::string_view text, bool special) const override {
    std::vector<int32_t> ids = VocabularyTokenizer::Encode(text, special);
    // Whatever add_eos_token says: the separator is what ends a text.
    if (special && vocabulary_.add_eos()) ids.pop_back();
    if (special && separator_ >= 0) ids.push_back(separator_);
    return ids;
  }

 protected:
  struct WpmWorkspace : Workspace {
    RegexMatcher matcher;
    std::string text;
    std::string subject;  // `text` in characters that PCRE2 knows, of the same length
  };

  std::unique_ptr<Workspace> NewWorkspace() const override {
    return std::make_unique<WpmWorkspace>();
  }

  void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string DecodeText(const std::string& text) const override { return MarksToSpaces(text); }

 private:
  // The text in characters that PCRE2 knows, as kinds that the vocabulary's maker knows.
  void SetSubject(WpmWorkspace& w) const;
  void Remove(const Regex& what, WpmWorkspace& w) const;
  template <class Append>
  static void MapCharacters(WpmWorkspace& w, const Append& append);
  void EncodeRun(std::string_view run, std::vector<int32_t>& ids) const;
  void EncodeWord(std::string_view word, std::vector<int32_t>& ids) const;

  const bool lowercase_;
  const bool strip_accents_;
  const bool unicode_8_;
  int32_t separator_ = -1;
  const Regex control_{kControl};
  const Regex accents_{kAccents};
  const Regex words_{kWords};
  ByteTrie begins_;   // tokens that begin a word, without their mark
  ByteTrie goes_on_;  // tokens within one
};

void WpmTokenizer::SetSubject(WpmWorkspace& w) const {
  w.subject = w.text;
  if (unicode_8_) ReplaceYoungerCharacters(w.subject);
  ReplaceNewerCharacters(w.subject);
}

// Takes whatever matches out of the text.
void WpmTokenizer::Remove(const Regex& what, WpmWorkspace& w) const {
  SetSubject(w);
  std::string left;
  size_t at = 0;
  while (const auto match = w.matcher.Find(what, w.subject, at)) {
    left.append(w.text, at, match->begin - at);
    at = match->end;
  }
  left.append(w.text, at);
  w.text = std::move(left);
}

template <class Append>
void WpmTokenizer::MapCharacters(WpmWorkspace& w, const Append& append) {
  std::string mapped;
  for (size_t at = 0; at < w.text.size();) {
    const Utf8Char c = DecodeUtf8(w.text, at);
    append(c.code, mapped);
    at += c.bytes;
  }
  w.text = std::move(mapped);
}

void WpmTokenizer::EncodeWord(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  const auto characters =
      std::ranges::count_if(word, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
  if (static_cast<size_t>(characters) > kLongestWord) word = {};
  while (!word.empty()) {
    const ByteTrie::Match match = (ids.size() == before ? begins_ : goes_on_).Longest(word);
    if (match.bytes == 0) {
      ids.resize(before);
      break;
    }
    ids.push_back(match.token);
    word.remove_prefix(match.bytes);
  }
  if (ids.size() == before && vocabulary_.unknown() >= 0) ids.push_back(vocabulary_.unknown());
}

// Cuts before and after each Chinese character.
void WpmTokenizer::EncodeRun(std::string_view run, std::vector<int32_t>& ids) const {
  size_t begin = 0;
  for (size_t at = 0; at < run.size();) {
    const Utf8Char c = DecodeUtf8(run, at);
    if (IsChinese(c.code)) {
      if (at > begin) EncodeWord(run.substr(begin, at - begin), ids);
      EncodeWord(run.substr(at, c.bytes), ids);
      begin = at + c.bytes;
    }
    at += c.bytes;
  }
  if (begin < run.size()) EncodeWord(run.substr(begin), ids);
}

void WpmTokenizer::EncodeFragment(std::string_view text, bool, Workspace& workspace,
                                  std::vector<int32_t>& ids) const {
  auto& w = static_cast<WpmWorkspace&>(workspace);
  w.text.clear();
  // Bytes that are no UTF-8 are cleaned away like the character that replaces them.
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (c.valid) w.text += text.substr(at, c.bytes);
    at += c.bytes;
  }
  Remove(control_, w);
  if (strip_accents_) {
    MapCharacters(w, AppendBase);
    Remove(accents_, w);
  }
  if (lowercase_) MapCharacters(w, jinja::AppendLower);
  SetSubject(w);
  size_t at = 0;
  while (const auto match = w.matcher.Find(words_, w.subject, at)) {
    EncodeRun(std::string_view(w.text).substr(match->begin, match->end - match->begin), ids);
    at = match->end;
  }
}

}  // namespace

std::unique_ptr<Tokenizer> NewWpmTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<WpmTokenizer>(metadata, source);
}

}  // namespace halftone
