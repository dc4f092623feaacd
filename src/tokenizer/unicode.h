// UTF-8 byte sequences and the little Unicode knowledge that tokenizers and chat templates need.
//
// All of it must give the same answer on every machine. Character classes come from PCRE2, whose
// tables are as old as the system's library; ReplaceNewerCharacters makes their age invisible.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace halftone {

// One character of a text, or one byte that starts no valid sequence.
struct Utf8Char {
  char32_t code = 0;
  int bytes = 0;       // 1 for an invalid byte
  bool valid = false;  // false: `code` is the byte itself
};

// Decodes at text[at]; `at` must be inside. Overlong forms, surrogates and codes above U+10FFFF are
// invalid.
Utf8Char DecodeUtf8(std::string_view text, size_t at);

// `code` must be a scalar value.
void AppendUtf8(char32_t code, std::string& out);

// Replaces, in valid UTF-8, every character that is younger than Unicode 14 (Debian 12's PCRE2) by
// an old one of the same general category and the same number of bytes, so that a pattern made of
// character classes splits the result where the tables of Unicode 16 (Hugging Face's tokenizers)
// would split the text. Also U+180E, which PCRE2 alone counts as a space.
void ReplaceNewerCharacters(std::string& text);

}  // namespace halftone
