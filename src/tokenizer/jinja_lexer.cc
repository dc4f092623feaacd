#include "tokenizer/jinja_lexer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                           "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    const bool carriage = source[i] == '\r';
    out += carriage ? '\n' : source[i];
    if (carriage && i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  return out;
}

// The value of a string literal, given between its quotes. Escapes are Python's; what is no escape
// stays as it is.
class StringLiteral {
 public:
  StringLiteral(std::string_view text, int line) : text_(text), line_(line) {}

  std::string Value() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\\' && at_ < text_.size()) {
        Escape();
      } else {
        value_ += c;
      }
    }
    return std::move(value_);
  }

 private:
  void Escape() {
    constexpr std::string_view kNames = "\\'\"abfnrtv\n";
    constexpr std::string_view kMeanings[] = {"\\", "'",  "\"", "\a", "\b", "\f",
                                              "\n", "\r", "\t", "\v", ""};
    const char c = text_[at_];
    if (const size_t name = kNames.find(c); name != kNames.npos) {
      value_ += kMeanings[name];
      ++at_;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ++at_;
      Code(16, c == 'x' ? 2 : c == 'u' ? 4 : 8, true);
    } else if (c >= '0' && c <= '7') {
      Code(8, 3, false);
    } else if (c == 'N') {
      FailUnsupported("chat template, line {}: \\N in a string", line_);
    } else if (static_cast<uint8_t>(c) >= 0x80) {
      // Python sees the escape that it made of the character itself, behind an escaped backslash.
      const Utf8Char wide = DecodeUtf8(text_, at_);
      const auto code = static_cast<uint32_t>(wide.code);
      value_ += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
      at_ += wide.bytes;
    } else {
      value_ += '\\';
    }
  }

  void Code(int base, int digits, bool all) {
    uint32_t code = 0;
    int seen = 0;
    for (; seen < digits && at_ < text_.size(); ++seen, ++at_) {
      const char c = text_[at_];
      const int digit = IsDigit(c)             ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : base;
      if (digit >= base) break;
      code = code * base + digit;
    }
    if (all && seen < digits) FailSyntax(line_, "an escape in a string is cut short");
    if (code > 0x10FFFF) FailSyntax(line_, "an escape in a string is no character");
    if (code >= 0xD800 && code < 0xE000) {
      FailUnsupported("chat template, line {}: half a surrogate pair in a string", line_);
    }
    AppendUtf8(code, value_);
  }

  std::string_view text_;
  int line_;
  size_t at_ = 0;
  std::string value_;
};

class Lexer {
 public:
  explicit Lexer(std::string source) : text_(std::move(source)), source_(text_) {
    if (source_.ends_with('\n')) source_.remove_suffix(1);
  }

  std::vector<Token> Run() {
    while (at_ < source_.size()) ReadText();
    Emit(Kind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  using Kind = Token::Kind;

  void Emit(Kind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text)});
  }
  void EmitData(std::string_view text) {
    if (!text.empty()) Emit(Kind::kData, text);
  }

  bool HasAt(size_t at, std::string_view text) const {
    return source_.substr(at).starts_with(text);
  }
  char CharAt(size_t at) const { return at < source_.size() ? source_[at] : '\0'; }
  size_t SpaceEnd(size_t at) const { return at + SpaceLength(source_.substr(at)); }
  // Behind the sign at `at`, if there is one.
  size_t SignEnd(size_t at) const { return at + (CharAt(at) == '-' || CharAt(at) == '+' ? 1 : 0); }

  // Moves on to `end`.
  void Consume(size_t end) {
    line_ += static_cast<int>(std::ranges::count(source_.substr(at_, end - at_), '\n'));
    at_ = end;
    line_starting_ = end > 0 && source_[end - 1] == '\n';
  }

  // Where the end of a block or comment at `at` ends: "-%}" and white space, "+%}", or "%}" and a
  // newline. npos: there is none.
  size_t TagEnd(size_t at, std::string_view delimiter) const {
    const size_t sign_end = SignEnd(at);
    if (!HasAt(sign_end, delimiter)) return source_.npos;
    const size_t end = sign_end + delimiter.size();
    if (CharAt(at) == '-') return SpaceEnd(end);
    return sign_end == at && CharAt(end) == '\n' ? end + 1 : end;
  }

  std::string_view StripBeforeTag(std::string_view text, char sign, bool variable) const {
    if (sign == '-') return StripRight(text);
    if (sign == '+' || variable) return text;
    const size_t begin = text.rfind('\n') + 1;  // 0 where there is none
    if (begin == 0 && !line_starting_) return text;
    const std::string_view blanks = text.substr(begin);
    return SpaceLength(blanks) == blanks.size() ? text.substr(0, begin) : text;
  }

  // Text up to a tag, and the tag.
  void ReadText() {
    size_t tag = source_.find('{', at_);
    while (tag != source_.npos && std::string_view("%{#").find(CharAt(tag + 1)) == source_.npos) {
      tag = source_.find('{', tag + 1);
    }
    const std::string_view text = source_.substr(at_, tag - at_);
    if (tag == source_.npos) {
      EmitData(text);
      Consume(source_.size());
      return;
    }
    const bool variable = CharAt(tag + 1) == '{';
    EmitData(StripBeforeTag(text, CharAt(tag + 2), variable));
    Consume(tag);
    if (CharAt(tag + 1) == '#') return ReadComment();
    if (!variable && ReadRaw()) return;
    Consume(SignEnd(tag + 2));
    Emit(variable ? Kind::kVariableBegin : Kind::kBlockBegin, {});
    ReadTag(variable);
  }

  void ReadComment() {
    for (size_t at = SignEnd(at_ + 2); at < source_.size(); ++at) {
      if (const size_t end = TagEnd(at, "#}"); end != source_.npos) return Consume(end);
    }
    FailSyntax(line_, "a comment has no end");
  }

  // {% raw %} ... {% endraw %}; false if the block here is another.
  bool ReadRaw() {
    const size_t word = SpaceEnd(SignEnd(at_ + 2));
    if (!HasAt(word, "raw")) return false;
    const size_t end = SpaceEnd(word + 3);
    const bool strips = HasAt(end, "-%}");
    if (!strips && !HasAt(end, "%}")) return false;
    // Unlike other blocks, this one keeps the newline behind it.
    const size_t begin = strips ? SpaceEnd(end + 3) : end + 2;
    const int line = line_;
    Consume(begin);
    for (size_t tag = begin; (tag = source_.find("{%", tag)) != source_.npos; ++tag) {
      const size_t last_word = SpaceEnd(SignEnd(tag + 2));
      if (!HasAt(last_word, "endraw")) continue;
      const size_t raw_end = TagEnd(SpaceEnd(last_word + 6), "%}");
      if (raw_end == source_.npos) continue;
      EmitData(StripBeforeTag(source_.substr(begin, tag - begin), CharAt(tag + 2), false));
      Consume(raw_end);
      return true;
    }
    FailSyntax(line, "a raw block has no end");
  }

  // The tokens of a tag and its end.
  void ReadTag(bool variable) {
    std::string open;  // the brackets that want closing
    while (at_ < source_.size()) {
      if (const size_t space = SpaceEnd(at_); space != at_) {
        // Blanks belong to the end of a tag only behind it.
        Consume(space);
        continue;
      }
      if (open.empty()) {
        const size_t end = variable ? VariableEnd() : TagEnd(at_, "%}");
        if (end != source_.npos) {
          Emit(variable ? Kind::kVariableEnd : Kind::kBlockEnd, {});
          return Consume(end);
        }
      }
      if (ReadNumber() || ReadName() || ReadString() || ReadOperator(open)) continue;
      const Utf8Char c = DecodeUtf8(source_, at_);
      FailSyntax(line_,
                 fmt::format("unexpected character '{}'", Printable(source_.substr(at_, c.bytes))));
    }
  }

  size_t VariableEnd() const {
    if (HasAt(at_, "-}}")) return SpaceEnd(at_ + 3);
    return HasAt(at_, "}}") ? at_ + 2 : source_.npos;
  }

  // Behind the digits of `base` that begin at `at`, with single underscores between them.
  size_t DigitsEnd(size_t at, int base) const {
    const auto is_digit = [&](char c) {
      if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return true;
      return c >= '0' && c <= (base >= 10 ? '9' : '0' + base - 1);
    };
    if (!is_digit(CharAt(at))) return at;
    while (is_digit(CharAt(at)) || (CharAt(at) == '_' && is_digit(CharAt(at + 1)))) ++at;
    return at;
  }

  bool ReadNumber() {
    if (!IsDigit(CharAt(at_))) return false;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    const size_t whole = DigitsEnd(at_, 10);
    size_t end = whole;
    if (CharAt(end) == '.') end = std::max(end, DigitsEnd(end + 1, 10));
    if (end == whole + 1) end = whole;  // a dot without digits behind it
    if (const char e = CharAt(end); e == 'e' || e == 'E') {
      const size_t digits = SignEnd(end + 1);
      if (const size_t last = DigitsEnd(digits, 10); last != digits) end = last;
    }
    if (end != whole && !after_dot) return EmitNumber(Kind::kFloat, end, 10);
    int base = 10;
    if (CharAt(at_) == '0') {
      const char letter = static_cast<char>(CharAt(at_ + 1) | 0x20);
      const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
      // An underscore may follow the prefix.
      const size_t digits = at_ + (CharAt(at_ + 2) == '_' ? 3 : 2);
      if (prefix != 0 && DigitsEnd(digits, prefix) != digits) {
        return EmitNumber(Kind::kInteger, DigitsEnd(digits, prefix), prefix);
      }
      base = 1;  // zeros only
    }
    return EmitNumber(Kind::kInteger, DigitsEnd(at_, base), 10);
  }

  bool EmitNumber(Kind kind, size_t end, int base) {
    Emit(kind, source_.substr(at_, end - at_));
    Token& token = tokens_.back();
    std::string digits = token.text;
    std::erase(digits, '_');
    if (kind == Kind::kFloat) {
      token.real = ParseFloat(digits);
    } else if (const auto value = ParseInteger(base == 10 ? digits : digits.substr(2), base)) {
      token.integer = *value;
    } else {
      FailUnsupported("chat template, line {}: the integer {} is beyond 64 bits", line_,
                      Printable(digits));
    }
    Consume(end);
    return true;
  }

  bool ReadName() {
    size_t end = at_;
    const auto is_word = [](char c) {
      return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    while (end < source_.size() && is_word(source_[end])) ++end;
    if (static_cast<uint8_t>(CharAt(end)) >= 0x80) {
      if (!names_) names_.emplace(kNameHere, source_);
      if (const auto match = names_->Find(at_)) end = match->end;
    }
    if (end == at_) return false;
    Emit(Kind::kName, source_.substr(at_, end - at_));
    Consume(end);
    return true;
  }

  bool ReadString() {
    const char quote = CharAt(at_);
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return false;
    const std::string_view inner = source_.substr(at_ + 1, end - at_ - 1);
    Emit(Kind::kString, StringLiteral(inner, line_).Value());
    Consume(end + 1);
    return true;
  }

  bool ReadOperator(std::string& open) {
    for (const std::string_view op : kOperators) {
      if (!HasAt(at_, op)) continue;
      if (op == "(" || op == "[" || op == "{") {
        open += op == "(" ? ')' : op == "[" ? ']' : '}';
      } else if (op == ")" || op == "]" || op == "}") {
        if (open.empty() || open.back() != op[0]) {
          FailSyntax(line_, fmt::format("unexpected '{}'", op));
        }
        open.pop_back();
      }
      Emit(Kind::kOperator, op);
      Consume(at_ + op.size());
      return true;
    }
    return false;
  }

  const std::string text_;
  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::optional<Finder> names_;  // for names with other letters than ASCII's
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

void FailSyntax(int line, std::string_view message) {
  FailFormat("chat template, line {}: {}", line, message);
}

}  // namespace halftone::jinja
