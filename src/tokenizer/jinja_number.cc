#include "tokenizer/jinja_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tokenizer/jinja_unicode.h"

namespace halftone::jinja {
namespace {

// `text` without the single underscores between digits; none if there are others.
std::optional<std::string> WithoutUnderscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at])) != 0;
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
  }
  return out;
}

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const char* end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  // Python writes the digits out while the point falls among or near them.
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const char* fixed_end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string fixed(static_cast<const char*>(buffer), fixed_end);
  if (fixed.find('.') == fixed.npos) fixed += ".0";
  return fixed;
}

std::optional<int64_t> ParseInteger(std::string_view digits, int base) {
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [last, error] = std::from_chars(digits.data(), end, value, base);
  if (error != std::errc() || last != end) return std::nullopt;
  return value;
}

double ParseFloat(std::string_view digits) {
  double value = 0;
  const char* end = digits.data() + digits.size();
  // Out of range, from_chars leaves the value alone.
  if (std::from_chars(digits.data(), end, value).ec == std::errc::result_out_of_range) {
    const size_t e = digits.find_first_of("eE");
    const bool tiny = e != digits.npos && digits.find('-', e) != digits.npos;
    return tiny ? 0 : HUGE_VAL;
  }
  return value;
}

std::optional<int64_t> ReadInteger(std::string_view original, int64_t base) {
  const std::string ascii = WithAsciiDigits(Strip(original));
  std::string_view text = ascii;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() >= 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == prefix || base == 0)) {
      base = prefix;
      text.remove_prefix(text.size() > 2 && text[2] == '_' ? 3 : 2);
    } else if (base == 0 && text.find_first_not_of("0_") != text.npos) {
      return std::nullopt;  // 07 is no number
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) return std::nullopt;
  std::string digits(text);
  if (digits.find('_') != digits.npos) {
    if (digits.front() == '_' || digits.back() == '_' || digits.find("__") != digits.npos) {
      return std::nullopt;
    }
    std::erase(digits, '_');
  }
  if (digits.empty() || digits.starts_with('-')) return std::nullopt;
  const auto valid = [&](char c) {
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 36;
    return value < base;
  };
  if (!std::ranges::all_of(digits, valid)) return std::nullopt;
  const auto value = ParseInteger((negative ? "-" : "") + digits, static_cast<int>(base));
  if (!value) RaiseUnsupported("integers beyond 64 bits");
  return value;
}

std::optional<double> ReadFloat(std::string_view text) {
  const auto plain = WithoutUnderscores(WithAsciiDigits(Strip(text)));
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  std::string lower(digits);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = HUGE_VAL;
  } else if (lower == "nan") {
    value = NAN;
  } else {
    if (lower.empty() || (lower[0] != '.' && (lower[0] < '0' || lower[0] > '9'))) {
      return std::nullopt;
    }
    double unused;
    const char* end = digits.data() + digits.size();
    const auto [last, error] = std::from_chars(digits.data(), end, unused);
    if (last != end || error == std::errc::invalid_argument) return std::nullopt;
    value = ParseFloat(digits);
  }
  return negative ? -value : value;
}

}  // namespace halftone::jinja
