#include "tokenizer/jinja_number_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

// The digits of a float in the printf style `type` (e f g).
std::string Digits(Heap& heap, double value, char type, int64_t precision, bool alternate) {
  const int64_t digits = precision < 0 ? 6 : precision;
  heap.Check(static_cast<uint64_t>(digits) + 400);
  const char format[] = {'%',
                         alternate ? '#' : '.',
                         alternate ? '.' : '*',
                         alternate ? '*' : type,
                         alternate ? type : '\0',
                         '\0'};
  std::vector<char> buffer(static_cast<size_t>(digits) + 400);
  const int length =
      std::snprintf(buffer.data(), buffer.size(), format, static_cast<int>(digits), value);
  return std::string(buffer.data(), static_cast<size_t>(length));
}

// Puts `separator` between groups of digits, counted from the right, and zeros in front up to
// `width` characters.
std::string Grouped(std::string_view digits, char separator, size_t group, size_t width) {
  std::string reversed;
  size_t count = 0;
  for (size_t i = digits.size(); i > 0 || reversed.size() < width; ++count) {
    if (count > 0 && count % group == 0) {
      reversed += separator;
      // A separator never comes first: one zero more goes before it.
    }
    reversed += i > 0 ? digits[i - 1] : '0';
    if (i > 0) --i;
  }
  std::ranges::reverse(reversed);
  return reversed;
}

std::string_view SignOf(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

// Whether padding goes between the sign and the digits as zeros.
bool PadsWithZeros(const FormatSpec& spec) { return spec.fill == "0" && spec.align == '='; }

}  // namespace

std::string Pad(Heap& heap, const FormatSpec& spec, char default_align, std::string_view sign,
                std::string_view text) {
  const int64_t length = CodePoints(sign) + CodePoints(text);
  const int64_t padding = std::max<int64_t>(0, spec.width - length);
  heap.Check(static_cast<uint64_t>(padding) + text.size());
  const char align = spec.align != '\0' ? spec.align : default_align;
  const int64_t before = align == '<' ? 0 : align == '^' ? padding / 2 : padding;
  std::string out;
  if (align == '=') out += sign;
  for (int64_t i = 0; i < before; ++i) out += spec.fill;
  if (align != '=') out += sign;
  out += text;
  for (int64_t i = before; i < padding; ++i) out += spec.fill;
  return out;
}

std::string FormatInteger(Heap& heap, const FormatSpec& spec, int64_t value) {
  if (std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos && spec.type != '\0') {
    return FormatFloat(heap, spec, static_cast<double>(value));
  }
  if (spec.precision >= 0) Raise("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      Raise("%c arg not in range(0x110000)");
    }
    std::string character;
    AppendUtf8(static_cast<char32_t>(value), character);
    return Pad(heap, spec, '<', "", character);
  }
  const uint64_t magnitude =
      value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string digits;
  std::string prefix(SignOf(value < 0, spec.sign));
  switch (spec.type) {
    case 'b':
      digits = fmt::format("{:b}", magnitude);
      break;
    case 'o':
      digits = fmt::format("{:o}", magnitude);
      break;
    case 'x':
      digits = fmt::format("{:x}", magnitude);
      break;
    case 'X':
      digits = fmt::format("{:X}", magnitude);
      break;
    case 'd':
    case 'n':
    case '\0':
      digits = std::to_string(magnitude);
      break;
    default:
      Raise("Unknown format code '{}' for object of type 'int'", spec.type);
  }
  const bool decimal = spec.type == 'd' || spec.type == 'n' || spec.type == '\0';
  if (spec.alternate && !decimal) prefix += std::string("0") + spec.type;
  if (spec.grouping != '\0') {
    if (spec.grouping == ',' && !decimal) Raise("Cannot specify ',' with '{}'.", spec.type);
    heap.Check(static_cast<uint64_t>(spec.width));
    const size_t width = PadsWithZeros(spec) && spec.width > static_cast<int64_t>(prefix.size())
                             ? static_cast<size_t>(spec.width) - prefix.size()
                             : 0;
    digits = Grouped(digits, spec.grouping, decimal ? 3 : 4, width);
  }
  return Pad(heap, spec, '>', prefix, digits);
}

std::string FormatFloat(Heap& heap, const FormatSpec& spec, double value) {
  const std::string_view sign = SignOf(std::signbit(value) && !std::isnan(value), spec.sign);
  const double magnitude = std::abs(value);
  std::string digits;
  char type = static_cast<char>(spec.type | 0x20);
  const bool upper = spec.type >= 'A' && spec.type <= 'Z';
  if (spec.type == '\0' || spec.type == '%' || spec.type == 'n') type = spec.type;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (type == '\0' && spec.precision < 0) {
    digits = FloatRepr(magnitude);
  } else if (type == '\0') {
    // Like g, but a float shows that it is one.
    const int64_t precision = std::max<int64_t>(spec.precision, 1);
    digits = Digits(heap, magnitude, 'g', precision, spec.alternate);
    if (digits.find_first_of(".e") == digits.npos) {
      const bool exact = static_cast<int64_t>(digits.size()) < precision;
      digits = exact ? digits + ".0" : Digits(heap, magnitude, 'e', precision - 1, false);
      if (const size_t e = digits.find('e'); e != digits.npos) {
        size_t last = e;
        while (last > 0 && digits[last - 1] == '0' && digits.find('.') < last) --last;
        if (last > 0 && digits[last - 1] == '.') --last;
        digits.erase(last, e - last);
      }
    }
  } else if (type == '%') {
    digits = Digits(heap, magnitude * 100, 'f', spec.precision, spec.alternate) + "%";
  } else if (type == 'e' || type == 'f' || type == 'g' || type == 'n') {
    digits = Digits(heap, magnitude, type == 'n' ? 'g' : type, spec.precision, spec.alternate);
  } else {
    Raise("Unknown format code '{}' for object of type 'float'", spec.type);
  }
  if (upper) {
    for (char& c : digits) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  }
  if (spec.grouping != '\0' && std::isfinite(value)) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    const std::string rest = digits.substr(whole);
    heap.Check(static_cast<uint64_t>(spec.width));
    const auto used = static_cast<int64_t>(sign.size() + rest.size());
    const size_t width =
        PadsWithZeros(spec) && spec.width > used ? static_cast<size_t>(spec.width - used) : 0;
    digits = Grouped(digits.substr(0, whole), spec.grouping, 3, width) + rest;
  }
  return Pad(heap, spec, '>', sign, digits);
}

FormatSpec ParseFormatSpec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto peek = [&](size_t i) { return i < text.size() ? text[i] : '\0'; };
  const auto is_align = [&](size_t i) {
    return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
  };
  const auto number = [&](int64_t absent) {
    const size_t begin = at;
    while (peek(at) >= '0' && peek(at) <= '9') ++at;
    if (at == begin) return absent;
    const auto value = ParseInteger(text.substr(begin, at - begin), 10);
    if (!value || *value > INT32_MAX) Raise("Too many decimal digits in format string");
    return *value;
  };
  const size_t first = text.empty() ? 0 : static_cast<size_t>(DecodeUtf8(text, 0).bytes);
  if (first > 0 && is_align(first)) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (is_align(0)) {
    spec.align = text[at++];
  }
  if (peek(at) == '+' || peek(at) == '-' || peek(at) == ' ') spec.sign = text[at++];
  if (peek(at) == '#') {
    spec.alternate = true;
    ++at;
  }
  if (peek(at) == '0' && at < text.size()) {
    ++at;
    if (spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    } else if (spec.fill == " " && first > 0 && !is_align(first)) {
      spec.fill = "0";
    }
  }
  spec.width = number(0);
  if (peek(at) == ',' || peek(at) == '_') spec.grouping = text[at++];
  if (peek(at) == '.') {
    ++at;
    spec.precision = number(-1);
    if (spec.precision < 0) Raise("Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) Raise("Invalid format specifier");
  return spec;
}

}  // namespace halftone::jinja
