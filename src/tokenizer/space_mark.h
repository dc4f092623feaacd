// U+2581, which stands for a space in the vocabularies of SentencePiece.

#pragma once

#include <string>
#include <string_view>

namespace halftone {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

inline void AppendMarkingSpaces(std::string_view text, std::string& marked) {
  for (const char c : text) {
    if (c == ' ') {
      marked += kSpaceMark;
    } else {
      marked += c;
    }
  }
}

inline std::string MarksToSpaces(std::string_view marked) {
  std::string text;
  for (size_t at = 0; at < marked.size();) {
    if (marked.substr(at).starts_with(kSpaceMark)) {
      text += ' ';
      at += kSpaceMark.size();
    } else {
      text += marked[at++];
    }
  }
  return text;
}

}  // namespace halftone
