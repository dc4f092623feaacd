#include "pipeline/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace halftone {
namespace {

constexpr std::string_view kThinSpace = "\u202F";  // narrow, and no line breaks there
constexpr std::string_view kNoBreakSpace = "\u00A0";

// Length of the well-formed UTF-8 sequence at the start of `text` (Unicode 15, table 3-7); 0 if
// there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

// Groups the digits before the point, from 10,000 on.
std::string Grouped(const std::string& number) {
  const size_t first = number.find_first_of("0123456789");
  const size_t end = std::min(number.find_first_not_of("0123456789", first), number.size());
  if (end - first < 5) return number;
  std::string grouped = number.substr(0, first);
  for (size_t i = first; i < end; ++i) {
    if (i > first && (end - i) % 3 == 0) grouped += kThinSpace;
    grouped += number[i];
  }
  return grouped + number.substr(end);
}

// "1.2e-7" rather than "1.2e-07".
std::string Scientific(double value, int decimals) {
  std::string text = fmt::format("{:.{}e}", value, decimals);
  const size_t sign = text.find('e') + 1;
  if (text[sign] == '+') text.erase(sign, 1);
  const size_t digits = text.find_first_of("0123456789", sign);
  while (text[digits] == '0' && digits + 1 < text.size()) text.erase(digits, 1);
  return text;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      out += "\uFFFD";
    } else if (length > 1) {
      out += text.substr(0, length);
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7F) {
      // U+2400 + c is E2 90 (80 + c); the picture of 7F is U+2421.
      out += "\xE2\x90";
      out += static_cast<char>(c == 0x7F ? 0xA1 : 0x80 + c);
    } else {
      out += text[0];
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string EscapeJsonForScript(std::string_view json) {
  std::string out;
  out.reserve(json.size() + json.size() / 16);
  for (const char c : json) {
    // Outside strings JSON has none of the three, so the escape is always inside one.
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string Significant(double value, int digits) {
  if (!std::isfinite(value)) return std::string(kNoNumber);
  if (value == 0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::abs(value))));
  if (magnitude < -5 || magnitude > 8) return Scientific(value, digits - 1);
  return Decimals(value, std::max(0, digits - 1 - magnitude));
}

std::string Decimals(double value, int decimals) {
  if (!std::isfinite(value)) return std::string(kNoNumber);
  if (std::abs(value) >= 1e9) return Scientific(value, 2);
  return Grouped(fmt::format("{:.{}f}", value, decimals));
}

std::string Percent(double fraction, int decimals) {
  if (!std::isfinite(fraction)) return std::string(kNoNumber);
  return fmt::format("{}{}%", Decimals(fraction * 100, decimals), kNoBreakSpace);
}

std::string HumanBytes(double bytes) {
  if (!std::isfinite(bytes)) return std::string(kNoNumber);
  const bool giga = bytes >= 1e9;
  return fmt::format("{}{}{}", Significant(bytes / (giga ? 1e9 : 1e6), 3), kNoBreakSpace,
                     giga ? "GB" : "MB");
}

std::string HumanSeconds(double seconds) {
  if (!std::isfinite(seconds)) return std::string(kNoNumber);
  const std::string_view s = kNoBreakSpace;
  if (seconds < 10) return fmt::format("{:.1f}{}s", seconds, s);
  if (seconds < 99.5) return fmt::format("{:.0f}{}s", seconds, s);
  if (seconds >= 3.6e8) return fmt::format("{}{}h", Significant(seconds / 3600, 3), s);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) {
    return whole % 60 == 0 ? fmt::format("{}{}min", whole / 60, s)
                           : fmt::format("{0}{2}min {1}{2}s", whole / 60, whole % 60, s);
  }
  return fmt::format("{0}{2}h {1}{2}min", whole / 3600, whole % 3600 / 60, s);
}

std::string HumanCount(double count) {
  if (!std::isfinite(count)) return std::string(kNoNumber);
  if (count >= 1e9) return Significant(count / 1e9, 3) + std::string(kNoBreakSpace) + "billion";
  if (count >= 1e6) return Significant(count / 1e6, 3) + std::string(kNoBreakSpace) + "million";
  return Decimals(count, 0);
}

std::string BaseName(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

}  // namespace halftone
