// Methods of str that take the text apart or join others.

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

using Pieces = std::vector<std::string_view>;

Value ListOf(Interpreter& interpreter, const Value& subject, const Pieces& pieces) {
  Heap& heap = interpreter.heap();
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const std::string_view piece : pieces) {
    items.push_back(heap.Str(std::string(piece), subject.AsText().markup));
  }
  return heap.List(std::move(items));
}

// Where a character before `end` begins.
size_t CharacterBefore(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (text[at] & 0xC0) == 0x80) --at;
  return at + DecodeUtf8(text, at).bytes == end ? at : end - 1;
}

bool IsSpaceAt(std::string_view text, size_t at) {
  const Utf8Char c = DecodeUtf8(text, at);
  return c.valid && IsSpace(c.code);
}

Pieces SplitAtSpace(std::string_view text, int64_t limit) {
  Pieces pieces;
  text = StripLeft(text);
  while (!text.empty()) {
    if (limit-- == 0) {
      pieces.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size() && !IsSpaceAt(text, end)) end += DecodeUtf8(text, end).bytes;
    pieces.push_back(text.substr(0, end));
    text = StripLeft(text.substr(end));
  }
  return pieces;
}

Pieces SplitAtSpaceFromRight(std::string_view text, int64_t limit) {
  Pieces pieces;
  text = StripRight(text);
  while (!text.empty()) {
    if (limit-- == 0) {
      pieces.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      const size_t before = CharacterBefore(text, begin);
      if (IsSpaceAt(text, before)) break;
      begin = before;
    }
    pieces.push_back(text.substr(begin));
    text = StripRight(text.substr(0, begin));
  }
  std::ranges::reverse(pieces);
  return pieces;
}

Pieces SplitAt(std::string_view text, std::string_view separator, int64_t limit) {
  Pieces pieces;
  size_t at = 0;
  for (; limit != 0; --limit) {
    const size_t found = Find(text, separator, at);
    if (found == text.npos) break;
    pieces.push_back(text.substr(at, found - at));
    at = found + separator.size();
  }
  pieces.push_back(text.substr(at));
  return pieces;
}

// Works on the text backwards, so that each step costs no more than what it takes off.
Pieces SplitAtFromRight(std::string_view text, std::string_view separator, int64_t limit) {
  const std::string backwards(text.rbegin(), text.rend());
  Pieces pieces = SplitAt(backwards, std::string(separator.rbegin(), separator.rend()), limit);
  for (std::string_view& piece : pieces) {
    const auto end = static_cast<size_t>(piece.data() - backwards.data());
    piece = text.substr(text.size() - end - piece.size(), piece.size());
  }
  std::ranges::reverse(pieces);
  return pieces;
}

template <bool kRight>
Value SplitMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("split", arguments, {"sep", "maxsplit"});
  Heap& heap = interpreter.heap();
  const std::string_view text = subject.bytes();
  heap.Walk(text.size());
  const int64_t limit = parameters.Int(1, -1);
  Pieces pieces;
  if (!parameters.Has(0) || parameters[0].none()) {
    pieces = kRight ? SplitAtSpaceFromRight(text, limit) : SplitAtSpace(text, limit);
  } else {
    const std::string& separator = parameters.AsText(0).bytes;
    if (separator.empty()) Raise("empty separator");
    pieces = kRight ? SplitAtFromRight(text, separator, limit) : SplitAt(text, separator, limit);
  }
  return ListOf(interpreter, subject, pieces);
}

Value SplitLinesMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("splitlines", arguments, {"keepends"});
  interpreter.heap().Walk(subject.bytes().size());
  return ListOf(interpreter, subject, SplitLines(subject.bytes(), parameters.Truth(0, false)));
}

template <bool kRight>
Value PartitionMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("partition", arguments, {""}, 1);
  Heap& heap = interpreter.heap();
  const std::string& separator = parameters.AsText(0).bytes;
  if (separator.empty()) Raise("empty separator");
  const std::string_view text = subject.bytes();
  heap.Walk(text.size());
  const bool markup = subject.AsText().markup;
  const auto piece = [&](std::string_view part) { return heap.Str(std::string(part), markup); };
  const Pieces pieces = kRight ? SplitAtFromRight(text, separator, 1) : SplitAt(text, separator, 1);
  if (pieces.size() == 2) {
    return heap.Tuple({piece(pieces[0]), piece(separator), piece(pieces[1])});
  }
  return kRight ? heap.Tuple({piece(""), piece(""), piece(text)})
                : heap.Tuple({piece(text), piece(""), piece("")});
}

Value JoinMethod(Interpreter& interpreter, const Value& subject, const Arguments& arguments) {
  const Parameters parameters("join", arguments, {""}, 1);
  const bool markup = subject.AsText().markup;
  Iterator& source = Iterate(interpreter, parameters[0]);
  std::string out;
  Value item;
  for (int64_t i = 0; interpreter.Next(source, item); ++i) {
    if (i > 0) out += subject.bytes();
    if (!markup && !item.text()) {
      Raise("sequence item {}: expected str instance, {} found", i, TypeName(item));
    }
    out += markup ? Escaped(item) : item.bytes();
    interpreter.heap().Check(out.size());
  }
  return interpreter.heap().Str(std::move(out), markup);
}

constexpr NamedFunction kMethods[] = {
    {"split", SplitMethod<false>},         {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},      {"partition", PartitionMethod<false>},
    {"rpartition", PartitionMethod<true>}, {"join", JoinMethod},
};

}  // namespace

std::span<const NamedFunction> SplitMethods() { return kMethods; }

}  // namespace halftone::jinja
