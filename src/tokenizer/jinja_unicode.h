// What Python's str knows of Unicode: white space, case, character classes.
//
// Case mappings are Unicode 14's, in tables here. Classes come from PCRE2 and answer like Unicode
// 16 wherever the library's tables are no older than 14 (tokenizer/unicode.h says how). Bytes that
// are no UTF-8 belong to no class and are kept as they are.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/regex.h"

namespace halftone::jinja {

// str.isspace() of a character.
bool IsSpace(char32_t code);
// Bytes of white space that `text` begins with.
size_t SpaceLength(std::string_view text);
// Without white space at one end or both.
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);
std::string_view Strip(std::string_view text);

// The methods of str.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
// Appends the lower case of one character, which does not depend on what is around it.
void AppendLower(char32_t code, std::string& out);
std::string Capitalize(std::string_view text);
std::string Title(std::string_view text);
std::string SwapCase(std::string_view text);
bool IsUpper(std::string_view text);
bool IsLower(std::string_view text);
bool IsAlpha(std::string_view text);
bool IsAlnum(std::string_view text);
bool IsDecimal(std::string_view text);
bool IsDigit(std::string_view text);
bool IsNumeric(std::string_view text);
bool IsPrintable(std::string_view text);
bool IsIdentifier(std::string_view text);

// `text` with all decimal digits written in ASCII's.
std::string WithAsciiDigits(std::string_view text);

// Finds the pieces of a text, one after another, that match a pattern of character classes.
class Finder {
 public:
  Finder(std::string_view pattern, std::string_view text);
  // The first match at or after byte `from` (a character's beginning).
  std::optional<RegexMatch> Find(size_t from);

 private:
  Regex regex_;
  RegexMatcher matcher_;
  std::string text_;  // valid UTF-8 of the same length, in characters that PCRE2 knows
};

// What repr() writes as an escape: all but printable characters and the space.
inline constexpr std::string_view kUnprintable = "(?! )[\\p{C}\\p{Z}]";
// Runs of what \w matches in Python.
inline constexpr std::string_view kWords = "[\\p{L}\\p{N}_]+";
// A name, at the very place where the search starts.
inline constexpr std::string_view kNameHere = "\\G[\\p{L}\\p{N}\\p{Mn}\\p{Mc}\\p{Pc}\\xB7]+";

}  // namespace halftone::jinja
