// Methods of str that change or describe the text.

#include "tokenizer/jinja_text_methods.h"

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_format.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// The text, made anew with the subject's being Markup or not.
Value Like(Interpreter& interpreter, const Value& subject, std::string_view text) {
  return interpreter.heap().Str(std::string(text), subject.AsText().markup);
}

template <std::string (*kChange)(std::string_view)>
Value Change(Interpreter& interpreter, const Value& text, const Arguments& arguments) {
  const Parameters parameters("str method", arguments, {});
  interpreter.heap().Walk(text.bytes().size());
  return Like(interpreter, text, kChange(text.bytes()));
}

template <bool (*kTest)(std::string_view)>
Value Ask(Interpreter& interpreter, const Value& text, const Arguments& arguments) {
  const Parameters parameters("str method", arguments, {});
  interpreter.heap().Walk(text.bytes().size());
  return Value::Bool(kTest(text.bytes()));
}

bool IsSpaces(std::string_view text) { return !text.empty() && SpaceLength(text) == text.size(); }
bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c & 0x80) == 0; });
}

// Whether the character at `at` is among `characters`.
bool IsAmong(std::string_view text, size_t at, std::string_view characters) {
  const auto bytes = static_cast<size_t>(DecodeUtf8(text, at).bytes);
  for (size_t i = 0; i < characters.size();) {
    const auto other = static_cast<size_t>(DecodeUtf8(characters, i).bytes);
    if (text.substr(at, bytes) == characters.substr(i, other)) return true;
    i += other;
  }
  return false;
}

std::string_view Stripped(Heap& heap, std::string_view text, std::string_view characters, bool left,
                          bool right) {
  while (left && !text.empty() && IsAmong(text, 0, characters)) {
    heap.Step(1 + characters.size() / 64);
    text.remove_prefix(DecodeUtf8(text, 0).bytes);
  }
  while (right && !text.empty()) {
    heap.Step(1 + characters.size() / 64);
    size_t at = text.size() - 1;
    while (at > 0 && text.size() - at < 4 && (text[at] & 0xC0) == 0x80) --at;
    if (at + DecodeUtf8(text, at).bytes != text.size()) at = text.size() - 1;
    if (!IsAmong(text, at, characters)) break;
    text = text.substr(0, at);
  }
  return text;
}

template <bool kLeft, bool kRight>
Value StripMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("strip", arguments, {""});
  std::string_view text = subject.bytes();
  interpreter.heap().Walk(text.size());
  if (parameters.Has(0) && !parameters[0].none()) {
    text = Stripped(interpreter.heap(), text, parameters.AsText(0).bytes, kLeft, kRight);
  } else {
    if (kLeft) text = StripLeft(text);
    if (kRight) text = StripRight(text);
  }
  return Like(interpreter, subject, text);
}

Value ReplaceMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("replace", arguments, {"", "", ""}, 2);
  const bool markup = subject.AsText().markup;
  const std::string now = markup ? Escaped(parameters[1]) : std::string(parameters.AsText(1).bytes);
  return Like(interpreter, subject,
              Replaced(interpreter.heap(), subject.bytes(), parameters.AsText(0).bytes, now,
                       parameters.Int(2, -1)));
}

// The code points [start, end) that find and its like search, and where they begin.
struct Part {
  std::string_view text;
  int64_t begin = 0;
  bool valid = true;  // false: the start lies behind the end, where not even "" is found
};

Part PartOf(const Parameters& parameters, const Text& text) {
  const int64_t length = text.length();
  const auto bound = [&](size_t i, int64_t absent) {
    if (!parameters.Has(i) || parameters[i].none()) return absent;
    const int64_t index = parameters.Int(i, 0);
    return index < 0 ? std::max<int64_t>(index + length, 0) : index;
  };
  const int64_t begin = bound(1, 0);
  const int64_t end = std::min(bound(2, length), length);
  if (begin > end) return {{}, begin, false};
  return {Substring(text, begin, end), begin, true};
}

template <bool kLast, bool kMust>
Value FindSubstring(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("find", arguments, {"", "", ""}, 1);
  const std::string& needle = parameters.AsText(0).bytes;
  interpreter.heap().Walk(subject.bytes().size());
  const Part part = PartOf(parameters, subject.AsText());
  size_t at = std::string_view::npos;
  if (part.valid) at = kLast ? FindLast(part.text, needle) : Find(part.text, needle);
  if (at == std::string_view::npos) {
    if (kMust) Raise("substring not found");
    return Value::Int(-1);
  }
  return Value::Int(part.begin + CodePoints(part.text.substr(0, at)));
}

Value CountMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("count", arguments, {"", "", ""}, 1);
  const std::string& needle = parameters.AsText(0).bytes;
  interpreter.heap().Walk(subject.bytes().size());
  const Part part = PartOf(parameters, subject.AsText());
  if (!part.valid) return Value::Int(0);
  if (needle.empty()) return Value::Int(CodePoints(part.text) + 1);
  int64_t count = 0;
  for (size_t at = Find(part.text, needle); at != std::string::npos;
       at = Find(part.text, needle, at + needle.size())) {
    ++count;
  }
  return Value::Int(count);
}

// startswith and endswith: one text or a tuple of them.
template <bool kEnd>
Value BeginsMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters(kEnd ? "endswith" : "startswith", arguments, {"", "", ""}, 1);
  const Part part = PartOf(parameters, subject.AsText());
  const auto matches = [&](const Value& affix) {
    if (!affix.text()) {
      Raise("{} first arg must be str or a tuple of str, not {}", kEnd ? "endswith" : "startswith",
            TypeName(affix));
    }
    interpreter.heap().Step();
    if (!part.valid) return false;
    return kEnd ? part.text.ends_with(affix.bytes()) : part.text.starts_with(affix.bytes());
  };
  if (!parameters[0].Is(Type::kTuple)) return Value::Bool(matches(parameters[0]));
  return Value::Bool(std::ranges::any_of(parameters[0].items(), matches));
}

template <bool kEnd>
Value RemoveMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("removeprefix", arguments, {""}, 1);
  const std::string& affix = parameters.AsText(0).bytes;
  std::string_view text = subject.bytes();
  if (kEnd ? text.ends_with(affix) : text.starts_with(affix)) {
    text = kEnd ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  }
  return Like(interpreter, subject, text);
}

// center, ljust and rjust.
template <char kAlign>
Value PadMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("center", arguments, {"", ""}, 1);
  Heap& heap = interpreter.heap();
  const int64_t length = subject.AsText().length();
  const int64_t width = parameters.Int(0, 0);
  std::string fill = parameters.Has(1) ? parameters.AsText(1).bytes : " ";
  if (CodePoints(fill) != 1) Raise("The fill character must be exactly one character long");
  if (subject.AsText().markup) fill = EscapeHtml(fill);
  const int64_t padding = std::max<int64_t>(0, width - length);
  heap.Check(static_cast<uint64_t>(padding));
  heap.Check(static_cast<uint64_t>(padding) * fill.size());
  const int64_t left = kAlign == '<'   ? 0
                       : kAlign == '>' ? padding
                                       : padding / 2 + (padding & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += subject.bytes();
  for (int64_t i = left; i < padding; ++i) out += fill;
  return Like(interpreter, subject, out);
}

Value ZFillMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("zfill", arguments, {""}, 1);
  const int64_t padding = std::max<int64_t>(0, parameters.Int(0, 0) - subject.AsText().length());
  interpreter.heap().Check(static_cast<uint64_t>(padding));
  std::string out = subject.bytes();
  const bool sign = !out.empty() && (out[0] == '+' || out[0] == '-');
  out.insert(sign ? 1 : 0, static_cast<size_t>(padding), '0');
  return Like(interpreter, subject, out);
}

Value FormatMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  return FormatBraces(interpreter, subject, arguments);
}

Value FormatMapMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("format_map", arguments, {""}, 1);
  if (!parameters[0].Is(Type::kDict)) Raise("format_map() needs a mapping");
  Arguments named;
  for (const auto& [key, value] : parameters[0].AsDict().entries) {
    if (key.text()) named.named.emplace_back(key.bytes(), value);
  }
  return FormatBraces(interpreter, subject, named);
}

constexpr NamedFunction kMethods[] = {
    {"upper", Change<Upper>},
    {"lower", Change<Lower>},
    {"capitalize", Change<Capitalize>},
    {"title", Change<Title>},
    {"swapcase", Change<SwapCase>},
    {"isalnum", Ask<IsAlnum>},
    {"isalpha", Ask<IsAlpha>},
    {"isascii", Ask<IsAscii>},
    {"isdecimal", Ask<IsDecimal>},
    {"isdigit", Ask<IsDigit>},
    {"isidentifier", Ask<IsIdentifier>},
    {"islower", Ask<IsLower>},
    {"isnumeric", Ask<IsNumeric>},
    {"isprintable", Ask<IsPrintable>},
    {"isspace", Ask<IsSpaces>},
    {"isupper", Ask<IsUpper>},
    {"strip", StripMethod<true, true>},
    {"lstrip", StripMethod<true, false>},
    {"rstrip", StripMethod<false, true>},
    {"replace", ReplaceMethod},
    {"find", FindSubstring<false, false>},
    {"rfind", FindSubstring<true, false>},
    {"index", FindSubstring<false, true>},
    {"rindex", FindSubstring<true, true>},
    {"count", CountMethod},
    {"startswith", BeginsMethod<false>},
    {"endswith", BeginsMethod<true>},
    {"removeprefix", RemoveMethod<false>},
    {"removesuffix", RemoveMethod<true>},
    {"center", PadMethod<'^'>},
    {"ljust", PadMethod<'<'>},
    {"rjust", PadMethod<'>'>},
    {"zfill", ZFillMethod},
    {"format", FormatMethod},
    {"format_map", FormatMapMethod},
};

}  // namespace

std::string Replaced(Heap& heap, std::string_view text, std::string_view old, std::string_view now,
                     int64_t count) {
  std::string out;
  heap.Walk(text.size());
  size_t at = 0;
  if (old.empty()) {
    for (; count != 0; --count) {
      out += now;
      if (at == text.size()) break;
      const auto bytes = static_cast<size_t>(DecodeUtf8(text, at).bytes);
      out += text.substr(at, bytes);
      at += bytes;
      heap.Check(out.size());
    }
    return out.append(text.substr(at));
  }
  for (; count != 0; --count) {
    const size_t found = Find(text, old, at);
    if (found == text.npos) break;
    out += text.substr(at, found - at);
    out += now;
    at = found + old.size();
    heap.Check(out.size());
  }
  return out.append(text.substr(at));
}

std::span<const NamedFunction> TextMethods() { return kMethods; }

}  // namespace halftone::jinja
