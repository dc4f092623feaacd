#include "tokenizer/jinja_unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "tokenizer/jinja_case_tables.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

constexpr char32_t kSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kDottedI = 0x130;

#define HALFTONE_CASED "[\\p{Lu}\\p{Ll}\\p{Lt}" HALFTONE_OTHER_UPPER HALFTONE_OTHER_LOWER "]"
// What stands between letters without ending a word (Case_Ignorable).
#define HALFTONE_IGNORED                                                                       \
  "[\\p{Mn}\\p{Me}\\p{Cf}\\p{Lm}\\p{Sk}'.:\\xB7\\x{387}\\x{55F}\\x{5F4}\\x{2018}\\x{2019}\\x{" \
  "2024}"                                                                                      \
  "\\x{2027}\\x{FE13}\\x{FE52}\\x{FE55}\\x{FF07}\\x{FF0E}\\x{FF1A}]"

constexpr std::string_view kCasedRun = HALFTONE_CASED "+";
// A capital sigma that ends a word.
constexpr std::string_view kLastSigma =
    HALFTONE_CASED HALFTONE_IGNORED "*+\\K\\x{3A3}(?!" HALFTONE_IGNORED "*+" HALFTONE_CASED ")";

bool Ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

template <size_t N>
char32_t Map(const CaseRun (&runs)[N], char32_t code) {
  const auto* next = std::ranges::upper_bound(runs, code, {}, &CaseRun::first);
  if (next == std::begin(runs)) return code;
  const CaseRun& run = *std::prev(next);
  if (code > run.last || (code - run.first) % run.step != 0) return code;
  return code + run.offset;
}

template <size_t N>
const char* FindText(const CaseText (&texts)[N], char32_t code) {
  const auto* it = std::ranges::lower_bound(texts, code, {}, &CaseText::code);
  return it != std::end(texts) && it->code == code ? it->text : nullptr;
}

void AppendUpper(char32_t code, std::string& out) {
  if (const char* text = FindText(kUpperTexts, code)) {
    out += text;
  } else {
    AppendUtf8(Map(kToUpper, code), out);
  }
}

void AppendTitle(char32_t code, std::string& out) {
  if (const char* text = FindText(kTitleTexts, code)) {
    out += text;
  } else {
    AppendUpper(code, out);
  }
}

// The lower case of a text's characters: that of a sigma depends on what is around it.
class LowerCase {
 public:
  explicit LowerCase(std::string_view text) {
    if (text.find("\u03A3") == text.npos) return;
    finder_.emplace(kLastSigma, text);
    last_ = finder_->Find(0);
  }

  // For the character at byte `at`; they come in order.
  void Append(char32_t code, size_t at, std::string& out) {
    while (last_ && last_->begin < at) last_ = finder_->Find(last_->end);
    if (code == kSigma && last_ && last_->begin == at) {
      AppendUtf8(kFinalSigma, out);
    } else {
      AppendLower(code, out);
    }
  }

 private:
  std::optional<Finder> finder_;
  std::optional<RegexMatch> last_;  // the next sigma that ends a word
};

template <class Append>
std::string MapAll(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (c.valid) {
      append(c.code, at, out);
    } else {
      out += text[at];
    }
    at += c.bytes;
  }
  return out;
}

// Whether all of the text, which is not empty, belongs to `characters` (a class's inside).
bool AllIn(const char* characters, std::string_view text) {
  if (text.empty()) return false;
  const std::string pattern = std::string("\\A[") + characters + "]+\\z";
  return Finder(pattern, text).Find(0).has_value();
}

}  // namespace

void AppendLower(char32_t code, std::string& out) {
  if (code == kDottedI) {
    out += "i\u0307";
  } else {
    AppendUtf8(Map(kToLower, code), out);
  }
}

bool IsSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

size_t SpaceLength(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (!c.valid || !IsSpace(c.code)) break;
    at += c.bytes;
  }
  return at;
}

std::string_view StripLeft(std::string_view text) { return text.substr(SpaceLength(text)); }

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && text.size() - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    const Utf8Char c = DecodeUtf8(text, at);
    if (!c.valid || !IsSpace(c.code) || at + c.bytes != text.size()) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

std::string_view Strip(std::string_view text) { return StripLeft(StripRight(text)); }

std::string Upper(std::string_view text) {
  return MapAll(text, [](char32_t c, size_t, std::string& out) { AppendUpper(c, out); });
}

std::string Lower(std::string_view text) {
  LowerCase lower(text);
  return MapAll(text, [&](char32_t c, size_t at, std::string& out) { lower.Append(c, at, out); });
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return {};
  const Utf8Char first = DecodeUtf8(text, 0);
  std::string out;
  if (first.valid) {
    AppendTitle(first.code, out);
  } else {
    out += text[0];
  }
  // The first letter counts when a sigma asks what stands before it.
  std::string lower;
  AppendLower(first.code, lower);
  return out + Lower(text).substr(first.valid ? lower.size() : 1);
}

std::string Title(std::string_view text) {
  Finder finder(kCasedRun, text);
  std::string out;
  size_t at = 0;
  while (const auto run = finder.Find(at)) {
    out += text.substr(at, run->begin - at);
    out += Capitalize(text.substr(run->begin, run->end - run->begin));
    at = run->end;
  }
  out += text.substr(at);
  return out;
}

std::string SwapCase(std::string_view text) {
  LowerCase lower(text);
  return MapAll(text, [&](char32_t code, size_t at, std::string& out) {
    const bool has_lower = Map(kToLower, code) != code || code == kDottedI;
    if (has_lower && Map(kToUpper, code) != code) {
      AppendUtf8(code, out);  // a title case, neither upper nor lower
    } else if (has_lower) {
      lower.Append(code, at, out);
    } else {
      AppendUpper(code, out);
    }
  });
}

std::string WithAsciiDigits(std::string_view text) {
  if (Ascii(text)) return std::string(text);
  return MapAll(text, [](char32_t code, size_t, std::string& out) {
    const auto is_digit = [](char32_t c) {
      std::string character;
      AppendUtf8(c, character);
      return c >= 0x80 && IsDecimal(character);
    };
    if (!is_digit(code)) return AppendUtf8(code, out);
    // Digits come in rows of ten, zero first; several rows may follow one another.
    int before = 0;
    while (is_digit(code - before - 1)) ++before;
    out += static_cast<char>('0' + before % 10);
  });
}

bool IsUpper(std::string_view text) {
  return Finder("[\\p{Lu}" HALFTONE_OTHER_UPPER "]", text).Find(0) &&
         !Finder("[\\p{Ll}\\p{Lt}" HALFTONE_OTHER_LOWER "]", text).Find(0);
}

bool IsLower(std::string_view text) {
  return Finder("[\\p{Ll}" HALFTONE_OTHER_LOWER "]", text).Find(0) &&
         !Finder("[\\p{Lu}\\p{Lt}" HALFTONE_OTHER_UPPER "]", text).Find(0);
}

bool IsAlpha(std::string_view text) { return AllIn("\\p{L}", text); }
bool IsAlnum(std::string_view text) { return AllIn("\\p{L}\\p{N}", text); }
bool IsDecimal(std::string_view text) { return AllIn("\\p{Nd}", text); }
bool IsDigit(std::string_view text) { return AllIn("\\p{Nd}" HALFTONE_OTHER_DIGITS, text); }
bool IsNumeric(std::string_view text) { return AllIn("\\p{N}" HALFTONE_OTHER_NUMBERS, text); }

bool IsPrintable(std::string_view text) { return !Finder(kUnprintable, text).Find(0); }

bool IsIdentifier(std::string_view text) {
  return Finder("\\A[\\p{L}\\p{Nl}_][\\p{L}\\p{Nl}_\\p{Mn}\\p{Mc}\\p{Nd}\\p{Pc}\\xB7]*+\\z", text)
      .Find(0)
      .has_value();
}

Finder::Finder(std::string_view pattern, std::string_view text) : regex_(pattern), text_(text) {
  if (Ascii(text)) return;
  for (size_t at = 0; at < text_.size();) {
    const Utf8Char c = DecodeUtf8(text_, at);
    if (!c.valid) text_[at] = '~';  // of no class that is asked for, and printable
    at += c.bytes;
  }
  ReplaceNewerCharacters(text_);
}

std::optional<RegexMatch> Finder::Find(size_t from) { return matcher_.Find(regex_, text_, from); }

}  // namespace halftone::jinja
