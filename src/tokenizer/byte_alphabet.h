// GPT-2's alphabet for bytes: every byte as a printable character, so that tokens of arbitrary
// bytes are texts. Bytes that Latin-1 prints (0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF) stand for
// themselves; the other 68, in order, are U+0100, U+0101 ... Source: bytes_to_unicode in OpenAI's
// gpt-2/encoder.py.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/unicode.h"

namespace halftone {

// The character of each byte.
inline constexpr std::array<char16_t, 256> kByteCharacters = [] {
  std::array<char16_t, 256> characters{};
  char16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    characters[byte] = printable ? static_cast<char16_t>(byte) : next++;
  }
  return characters;
}();

// The byte of each character below U+0144; -1 for those that stand for none.
inline constexpr std::array<int16_t, 0x144> kCharacterBytes = [] {
  std::array<int16_t, 0x144> bytes{};
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[kByteCharacters[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

// Bytes in the alphabet.
inline std::string EncodeByteAlphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) AppendUtf8(kByteCharacters[static_cast<uint8_t>(c)], text);
  return text;
}

// The bytes that a token's text stands for; characters outside the alphabet are copied as they are.
inline std::string DecodeByteAlphabet(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (c.valid && c.code < kCharacterBytes.size() && kCharacterBytes[c.code] >= 0) {
      bytes += static_cast<char>(kCharacterBytes[c.code]);
    } else {
      bytes += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  return bytes;
}

}  // namespace halftone
