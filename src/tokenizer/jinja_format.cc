#include "tokenizer/jinja_format.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_number_format.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// repr(), with all but ASCII as escapes.
std::string Ascii(const Value& value) {
  const std::string text = Repr(value);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    const auto code = static_cast<uint32_t>(c.code);
    out += code < 0x80      ? std::string(1, text[at])
           : code < 0x100   ? fmt::format("\\x{:02x}", code)
           : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                            : fmt::format("\\U{:08x}", code);
    at += c.bytes;
  }
  return out;
}

std::string_view Truncated(const Text& text, int64_t precision) {
  if (precision < 0 || precision >= text.length()) return text.bytes;
  return Substring(text, 0, precision);
}

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& interpreter, const Text& format, const Value& arguments)
      : interpreter_(interpreter),
        heap_(interpreter.heap()),
        format_(format.bytes),
        markup_(format.markup),
        arguments_(arguments) {}

  std::string Run() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      out_ += format_.substr(at_, percent - at_);
      at_ = percent + 1;
      if (percent < format_.size()) Convert();
      heap_.Check(out_.size());
    }
    const bool mapping = arguments_.Is(Type::kDict) || arguments_.Is(Type::kList) ||
                         arguments_.undefined() || arguments_.Is(Type::kRange);
    const size_t given = arguments_.Is(Type::kTuple) ? arguments_.items().size() : 1;
    if (!mapping && used_ < given) {
      Raise("not all arguments converted during string formatting");
    }
    return std::move(out_);
  }

 private:
  char Peek() const {
    if (at_ >= format_.size()) Raise("incomplete format");
    return format_[at_];
  }

  Value Argument() {
    if (!key_.missing()) return key_;
    if (arguments_.Is(Type::kTuple)) {
      if (used_ < arguments_.items().size()) return arguments_.items()[used_++];
    } else if (used_++ == 0) {
      return arguments_;
    }
    Raise("not enough arguments for format string");
  }

  int64_t Number() {
    if (Peek() == '*') {
      ++at_;
      const Value value = Argument();
      if (!value.integer()) Raise("* wants int");
      return value.AsInt();
    }
    const size_t begin = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    if (at_ == begin) return 0;
    const auto value = ParseInteger(format_.substr(begin, at_ - begin), 10);
    if (!value || *value > INT32_MAX) Raise("width too big");
    return *value;
  }

  void Convert() {
    key_ = Value();
    if (Peek() == '(') {
      const size_t begin = ++at_;
      for (int open = 1; open > 0; ++at_) {
        if (at_ >= format_.size()) Raise("incomplete format key");
        open += format_[at_] == '(' ? 1 : format_[at_] == ')' ? -1 : 0;
      }
      if (!arguments_.Is(Type::kDict)) Raise("format requires a mapping");
      const std::string_view key = format_.substr(begin, at_ - begin - 1);
      const Value* value = arguments_.AsDict().Find(key);
      if (value == nullptr) Raise("there is no '{}' to format", key);
      key_ = *value;
    }
    FormatSpec spec;
    bool left = false;
    bool zero = false;
    for (; std::string_view("-+ #0").find(Peek()) != std::string_view::npos; ++at_) {
      left |= Peek() == '-';
      zero |= Peek() == '0';
      spec.alternate |= Peek() == '#';
      if (Peek() == '+' || (Peek() == ' ' && spec.sign != '+')) spec.sign = Peek();
    }
    spec.width = Number();
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    if (Peek() == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(Number(), 0);
    }
    if (Peek() == 'h' || Peek() == 'l' || Peek() == 'L') ++at_;
    const char type = Peek();
    ++at_;
    if (type == '%') {
      out_ += '%';
      return;
    }
    const bool number = std::string_view("diuoxXeEfFgG").find(type) != std::string_view::npos;
    spec.align = left ? '<' : '>';
    if (zero && !left && number) {
      spec.align = '=';
      spec.fill = "0";
    }
    spec.type = type;
    Write(spec, type);
  }

  void Write(FormatSpec& spec, char type) {
    const Value value = Argument();
    switch (type) {
      case 's':
      case 'r':
      case 'a': {
        std::string text = type == 's' ? Str(value) : type == 'r' ? Repr(value) : Ascii(value);
        const bool safe = type == 's' && value.text() && value.AsText().markup;
        if (markup_ && !safe) text = EscapeHtml(text);
        const Text whole(std::move(text), false);
        out_ += Pad(heap_, spec, '>', "", Truncated(whole, spec.precision));
        break;
      }
      case 'c':
        WriteCharacter(spec, value);
        break;
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        WriteInteger(spec, type, value);
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (value.undefined()) RaiseUndefined(value);
        if (!value.number()) Raise("must be real number, not {}", TypeName(value));
        out_ += FormatFloat(heap_, spec, value.ToDouble());
        break;
      default:
        Raise("unsupported format character '{}'", type);
    }
  }

  void WriteCharacter(FormatSpec& spec, const Value& value) {
    if (value.text() && value.AsText().length() == 1) {
      out_ += Pad(heap_, spec, '>', "", value.bytes());
    } else if (value.integer()) {
      spec.precision = -1;
      out_ += FormatInteger(heap_, spec, value.AsInt());
    } else {
      Raise("%c requires int or char");
    }
  }

  void WriteInteger(FormatSpec& spec, char type, const Value& value) {
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    if (value.undefined() && decimal) RaiseUndefined(value);
    if (!value.integer() && !(decimal && value.Is(Type::kFloat))) {
      Raise("%{} format: {} is required, not {}", type, decimal ? "a real number" : "an integer",
            TypeName(value));
    }
    int64_t integer = value.integer() ? value.AsInt() : 0;
    if (value.Is(Type::kFloat)) {
      const double real = value.AsFloat();
      if (!std::isfinite(real)) Raise("cannot convert float to integer");
      if (std::abs(real) >= 0x1p63) RaiseUnsupported("integers beyond 64 bits");
      integer = static_cast<int64_t>(real);
    }
    if (decimal) spec.type = 'd';
    const int64_t precision = spec.precision;
    spec.precision = -1;
    if (precision < 0) {
      out_ += FormatInteger(heap_, spec, integer);
      return;
    }
    // A precision is the least number of digits.
    FormatSpec digits = spec;
    digits.width = 0;
    std::string text = FormatInteger(heap_, digits, integer);
    const size_t prefix = std::min(text.find_first_of("0123456789abcdefABCDEF"), text.size());
    const size_t first = prefix + (spec.alternate && !decimal ? 2 : 0);
    heap_.Check(static_cast<uint64_t>(precision));
    if (const auto have = static_cast<int64_t>(text.size() - first); have < precision) {
      text.insert(first, static_cast<size_t>(precision - have), '0');
    }
    out_ += Pad(heap_, spec, '>', text.substr(0, first), text.substr(first));
  }

  Interpreter& interpreter_;
  Heap& heap_;
  const std::string_view format_;
  const bool markup_;
  const Value arguments_;
  size_t at_ = 0;
  size_t used_ = 0;
  Value key_;  // what %(key) found; missing without
  std::string out_;
};

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const Arguments& arguments, bool markup)
      : interpreter_(interpreter), arguments_(arguments), markup_(markup) {}

  std::string Format(std::string_view format, int depth) {
    if (depth < 0) Raise("Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < format.size();) {
      const char c = format[at];
      if (c != '{' && c != '}') {
        out += c;
        ++at;
      } else if (at + 1 < format.size() && format[at + 1] == c) {
        out += c;
        at += 2;
      } else if (c == '}') {
        Raise("Single '}}' encountered in format string");
      } else {
        const size_t end = FieldEnd(format, at + 1);
        out += Field(format.substr(at + 1, end - at - 1), depth);
        at = end + 1;
      }
      interpreter_.heap().Check(out.size());
    }
    return out;
  }

 private:
  static size_t FieldEnd(std::string_view format, size_t at) {
    int open = 1;
    for (; at < format.size(); ++at) {
      open += format[at] == '{' ? 1 : format[at] == '}' ? -1 : 0;
      if (open == 0) return at;
    }
    Raise("expected '}}' before end of string");
  }

  // name[!conversion][:spec]
  std::string Field(std::string_view field, int depth) {
    size_t end = 0;
    for (bool bracket = false; end < field.size(); ++end) {
      bracket = field[end] == '[' || (bracket && field[end] != ']');
      if (!bracket && (field[end] == '!' || field[end] == ':')) break;
    }
    Value value = Find(field.substr(0, end));
    std::string_view rest = field.substr(end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':')) {
        Raise("expected ':' after conversion specifier");
      }
      const char conversion = rest[1];
      if (conversion != 's' && conversion != 'r' && conversion != 'a') {
        Raise("Unknown conversion specifier '{}'", conversion);
      }
      value = interpreter_.heap().Str(conversion == 's'   ? Str(value)
                                      : conversion == 'r' ? Repr(value)
                                                          : Ascii(value));
      rest.remove_prefix(2);
    }
    std::string spec;
    if (!rest.empty()) spec = Format(rest.substr(1), depth - 1);
    const bool safe = value.text() && value.AsText().markup;
    if (safe && markup_) return value.bytes();
    const std::string text = Lay(value, spec);
    return markup_ ? EscapeHtml(text) : text;
  }

  // first(.attribute|[item])*
  Value Find(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = First(name.substr(0, end));
    Heap& heap = interpreter_.heap();
    while (!name.empty()) {
      name.remove_prefix(std::min(name.find_first_of(".["), name.size()));
      if (name.empty()) break;
      const bool item = name[0] == '[';
      const size_t stop =
          item ? name.find(']') : std::min(name.find_first_of(".[", 1), name.size());
      if (stop == name.npos) Raise("Missing ']' in format string");
      const std::string_view key = name.substr(1, stop - 1);
      if (key.empty()) Raise("Empty attribute in format string");
      const auto index = ParseInteger(key, 10);
      const Value text = heap.Str(std::string(key));
      value = !item   ? GetAttribute(interpreter_, value, text)
              : index ? GetItem(interpreter_, value, Value::Int(*index))
                      : GetItem(interpreter_, value, text);
      name.remove_prefix(item ? stop + 1 : stop);
      if (item && !name.empty() && name[0] != '.' && name[0] != '[') {
        Raise("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Value First(std::string_view name) {
    const auto given = ParseInteger(name, 10);
    if (name.empty() || given) {
      if (given ? automatic_ > 0 : automatic_ < 0) {
        Raise("cannot switch between manual field specification and automatic field numbering");
      }
      const int64_t index = given ? *given : automatic_++;
      if (given) automatic_ = -1;
      if (index < 0 || index >= static_cast<int64_t>(arguments_.positional.size())) {
        Raise("Replacement index {} out of range for positional args tuple", index);
      }
      return arguments_.positional[index];
    }
    const auto it =
        std::ranges::find(arguments_.named, name, &std::pair<std::string, Value>::first);
    if (it == arguments_.named.end()) Raise("there is no '{}' to format", name);
    return it->second;
  }

  // format(value, spec).
  std::string Lay(const Value& value, std::string_view text) {
    if (text.empty()) return Str(value);
    Heap& heap = interpreter_.heap();
    if (!value.text() && !value.number()) {
      Raise("unsupported format string passed to {}.__format__", TypeName(value));
    }
    FormatSpec spec = ParseFormatSpec(text);
    if (value.integer()) return FormatInteger(heap, spec, value.AsInt());
    if (value.Is(Type::kFloat)) return FormatFloat(heap, spec, value.AsFloat());
    if (spec.type != '\0' && spec.type != 's') {
      Raise("Unknown format code '{}' for object of type 'str'", spec.type);
    }
    if (spec.sign != '-') Raise("Sign not allowed in string format specifier");
    if (spec.align == '=') {
      if (spec.fill != "0") Raise("'=' alignment not allowed in string format specifier");
      spec.align = '<';
    }
    return Pad(heap, spec, '<', "", Truncated(value.AsText(), spec.precision));
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  const bool markup_;
  int64_t automatic_ = 0;  // the next index; -1: indices are given
};

}  // namespace

Value FormatPercent(Interpreter& interpreter, const Value& format, const Value& arguments) {
  const Text& text = format.AsText();
  return interpreter.heap().Str(PercentFormatter(interpreter, text, arguments).Run(), text.markup);
}

Value FormatBraces(Interpreter& interpreter, const Value& format, const Arguments& arguments) {
  const Text& text = format.AsText();
  constexpr int kNestedSpecs = 2;
  return interpreter.heap().Str(
      BraceFormatter(interpreter, arguments, text.markup).Format(text.bytes, kNestedSpecs),
      text.markup);
}

}  // namespace halftone::jinja
