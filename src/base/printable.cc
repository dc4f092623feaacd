#include "base/printable.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>

namespace halftone {
namespace {

// The length of the UTF-8 sequence that begins `text`, or 0 if there is none. Overlong forms,
// surrogates and values past U+10FFFF are none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
      (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

// C0 and C1 controls and DEL: what a terminal may obey.
bool IsControl(std::string_view sequence) {
  const auto first = static_cast<uint8_t>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  return sequence.size() == 2 && first == 0xC2 && static_cast<uint8_t>(sequence[1]) < 0xA0;
}

}  // namespace

std::string Printable(std::string_view text, size_t limit) {
  std::string printable;
  const bool cut = text.size() > limit;
  size_t at = 0;
  while (at < std::min(text.size(), limit)) {
    const size_t length = Utf8Length(text.substr(at));
    if (length > 0 && !IsControl(text.substr(at, length))) {
      printable += text.substr(at, length);
      at += length;
    } else {
      printable += fmt::format("\\x{:02X}", static_cast<uint8_t>(text[at]));
      ++at;
    }
  }
  if (cut) printable += "...";
  return printable;
}

}  // namespace halftone
