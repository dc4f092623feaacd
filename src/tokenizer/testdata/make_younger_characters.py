"""Prints the ranges of younger_characters.h: the characters that tokenizers knows as no punctuation,
accents or control characters though they are, or may yet become, such in Unicode.

  python make_younger_characters.py > ../younger_characters.h

Asks tokenizers about every code point; Python's unicodedata must know Unicode 14 or a later one.
"""

import unicodedata

from tokenizers import normalizers, pre_tokenizers

OPTIONS = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False,
           "lowercase": False}
ACCENTS = normalizers.BertNormalizer(**OPTIONS | {"strip_accents": True})
CLEAN = normalizers.BertNormalizer(**OPTIONS | {"clean_text": True})
WORDS = pre_tokenizers.BertPreTokenizer()
HEAD = """// Characters that are younger than Unicode 8, by whose tables Hugging Face's tokenizers tells
// punctuation, accents and control characters: to it they are none of these. Those that no version
// of Unicode has yet assigned are among them.
//
// Made by testdata/make_younger_characters.py.

#pragma once

#include <cstdint>

namespace halftone {

struct CharacterRange {
  char32_t first, last;
};

// Ascending.
constexpr CharacterRange kYoungerCharacters[] = {"""


def is_plain(code):
    """To tokenizers."""
    c = chr(code)
    return (len(WORDS.pre_tokenize_str(f"a{c}a")) == 1 and ACCENTS.normalize_str(c) != "" and
            CLEAN.normalize_str(f"a{c}a") != "aa")


def is_special(code):
    category = unicodedata.category(chr(code))
    return category[0] == "P" or category in ("Mn", "Cc", "Cf", "Cn")


def main():
    ranges = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000 or not is_special(code) or not is_plain(code):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    print(HEAD)
    for first, last in ranges:
        print(f"    {{0x{first:04X}, 0x{last:04X}}},")
    print("};\n\n}  // namespace halftone")


main()
