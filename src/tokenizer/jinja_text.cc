#include "tokenizer/jinja_text.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

// Namespaces may lead anywhere, themselves included.
constexpr int kMaxReprDepth = 2 * kMaxDepth;

class ReprWriter {
 public:
  explicit ReprWriter(std::string& out) : out_(out) {}

  void Write(const Value& value) {
    if (++depth_ > kMaxReprDepth) RaiseUnsupported("printing a value that holds itself");
    switch (value.type()) {
      case Value::Type::kText:
        if (value.AsText().markup) out_ += "Markup(";
        WriteQuoted(value.bytes());
        if (value.AsText().markup) out_ += ")";
        break;
      case Value::Type::kUndefined:
        out_ += "Undefined";
        break;
      case Value::Type::kList:
        WriteSequence("[", value.items(), "]");
        break;
      case Value::Type::kTuple:
        WriteSequence("(", value.items(), value.items().size() == 1 ? ",)" : ")");
        break;
      case Value::Type::kDict:
        WriteDict(value.AsDict());
        break;
      case Value::Type::kView:
        WriteView(value.AsView());
        break;
      case Value::Type::kNamespace:
        out_ += "<Namespace ";
        WriteDict(value.AsNamespace().attributes);
        out_ += ">";
        break;
      default:
        WriteScalar(value);
    }
    --depth_;
    if (out_.size() > kMaxOutput) RaiseUnsupported("a value longer than {} bytes", kMaxOutput);
  }

 private:
  void WriteScalar(const Value& value) {
    switch (value.type()) {
      case Value::Type::kNone:
        out_ += "None";
        break;
      case Value::Type::kBool:
        out_ += value.AsBool() ? "True" : "False";
        break;
      case Value::Type::kInt:
        out_ += std::to_string(value.AsInt());
        break;
      case Value::Type::kFloat:
        out_ += FloatRepr(value.AsFloat());
        break;
      case Value::Type::kRange: {
        const Range& range = value.AsRange();
        out_ += fmt::format("range({}, {}", range.start, range.stop);
        if (range.step != 1) out_ += fmt::format(", {}", range.step);
        out_ += ")";
        break;
      }
      case Value::Type::kCallable:
        out_ += value.AsCallable().Repr();
        break;
      default:
        out_ += fmt::format("<{} object>", TypeName(value));
    }
  }

  void WriteSequence(const char* open, const std::vector<Value>& items, const char* close) {
    out_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ", ";
      Write(items[i]);
    }
    out_ += close;
  }

  void WriteDict(const Dict& dict) {
    out_ += "{";
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      Write(dict.entries[i].first);
      out_ += ": ";
      Write(dict.entries[i].second);
    }
    out_ += "}";
  }

  void WriteView(const View& view) {
    constexpr const char* kOpen[] = {"dict_keys([", "dict_values([", "dict_items(["};
    out_ += kOpen[static_cast<int>(view.kind)];
    const char* separator = "";
    for (const auto& [key, value] : view.dict.AsDict().entries) {
      out_ += separator;
      separator = ", ";
      if (view.kind == View::Kind::kItems) out_ += "(";
      if (view.kind != View::Kind::kValues) Write(key);
      if (view.kind == View::Kind::kItems) out_ += ", ";
      if (view.kind != View::Kind::kKeys) Write(value);
      if (view.kind == View::Kind::kItems) out_ += ")";
    }
    out_ += "])";
  }

  void WriteQuoted(std::string_view text) {
    const bool single = text.find('\'') == text.npos || text.find('"') != text.npos;
    const char quote = single ? '\'' : '"';
    out_ += quote;
    std::optional<Finder> finder;  // of ASCII we know by ourselves
    if (std::ranges::any_of(text, [](char c) { return (c & 0x80) != 0; })) {
      finder.emplace(kUnprintable, text);
    }
    std::optional<RegexMatch> hidden;
    if (finder) hidden = finder->Find(0);
    for (size_t at = 0; at < text.size();) {
      const Utf8Char c = DecodeUtf8(text, at);
      while (hidden && hidden->begin < at) hidden = finder->Find(hidden->end);
      if (c.code == static_cast<char32_t>(quote) || c.code == '\\') {
        out_ += '\\';
        out_ += text[at];
      } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
        out_ += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
      } else if (c.code < 0x20 || c.code == 0x7F || (hidden && hidden->begin == at)) {
        out_ += EscapedCode(c.code);
      } else {
        out_ += text.substr(at, c.bytes);
      }
      at += c.bytes;
    }
    out_ += quote;
  }

  static std::string EscapedCode(char32_t code) {
    const auto number = static_cast<uint32_t>(code);
    if (number < 0x100) return fmt::format("\\x{:02x}", number);
    if (number < 0x10000) return fmt::format("\\u{:04x}", number);
    return fmt::format("\\U{:08x}", number);
  }

  std::string& out_;
  int depth_ = 0;
};

}  // namespace

void AppendStr(const Value& value, std::string& out) {
  if (value.text()) {
    out += value.bytes();
  } else if (!value.undefined()) {
    ReprWriter(out).Write(value);
  }
}

std::string Str(const Value& value) {
  std::string out;
  AppendStr(value, out);
  return out;
}

std::string Repr(const Value& value) {
  std::string out;
  ReprWriter(out).Write(value);
  return out;
}

int64_t CodePoints(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    at += static_cast<uint8_t>(text[at]) < 0x80 ? 1 : DecodeUtf8(text, at).bytes;
  }
  return count;
}

size_t ByteOffset(const Text& text, int64_t index) {
  if (text.ascii()) return static_cast<size_t>(index);
  size_t at = 0;
  for (; index > 0; --index) at += DecodeUtf8(text.bytes, at).bytes;
  return at;
}

std::string_view Substring(const Text& text, int64_t begin, int64_t end) {
  const std::string_view bytes = text.bytes;
  if (text.ascii()) return bytes.substr(begin, end - begin);
  size_t at = 0;
  int64_t index = 0;
  for (; index < begin; ++index) at += DecodeUtf8(bytes, at).bytes;
  const size_t first = at;
  for (; index < end; ++index) at += DecodeUtf8(bytes, at).bytes;
  return bytes.substr(first, at - first);
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string Escaped(const Value& value) {
  if (value.text() && value.AsText().markup) return value.bytes();
  return EscapeHtml(Str(value));
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    const bool ends = (c.code >= 0x0A && c.code <= 0x0D) || (c.code >= 0x1C && c.code <= 0x1E) ||
                      (c.valid && (c.code == 0x85 || c.code == 0x2028 || c.code == 0x2029));
    size_t next = at + c.bytes;
    if (c.code == '\r' && next < text.size() && text[next] == '\n') ++next;
    if (ends) {
      lines.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

size_t Find(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return text.npos;
  if (needle.empty()) return from;
  const void* found =
      ::memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? text.npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t FindLast(std::string_view text, std::string_view needle) {
  const size_t at =
      Find(std::string(text.rbegin(), text.rend()), std::string(needle.rbegin(), needle.rend()));
  return at == text.npos ? at : text.size() - needle.size() - at;
}

}  // namespace halftone::jinja
