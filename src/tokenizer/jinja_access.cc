#include "tokenizer/jinja_access.h"

#include <algorithm>

#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// The items of a list, tuple, dict, view or range, from either end.
struct IndexIterator : Iterator {
  IndexIterator(const Value& a_value, bool a_backwards)
      : value(a_value), backwards(a_backwards), left(LengthOf(a_value)), size(left) {}
  bool Next(Interpreter& interpreter, Value& item) override {
    if (left == 0) return false;
    --left;
    item = ItemAt(interpreter, value, backwards ? left : size - 1 - left);
    return true;
  }
  const Value value;
  const bool backwards;
  int64_t left;
  const int64_t size;
};

struct CharacterIterator : Iterator {
  explicit CharacterIterator(const Text& a_text) : text(a_text) {}
  bool Next(Interpreter& interpreter, Value& item) override {
    if (at == text.bytes.size()) return false;
    const auto bytes = static_cast<size_t>(DecodeUtf8(text.bytes, at).bytes);
    item = interpreter.heap().Str(text.bytes.substr(at, bytes));
    at += bytes;
    return true;
  }
  const Text& text;
  size_t at = 0;
};

Value Tuple(Interpreter& interpreter, const std::pair<Value, Value>& entry) {
  return interpreter.heap().Tuple({entry.first, entry.second});
}

// obj[index] of a sequence; missing where the index is out of range.
Value GetIndexed(Interpreter& interpreter, const Value& object, int64_t index) {
  const int64_t length = LengthOf(object);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return {};
  return ItemAt(interpreter, object, index);
}

// What object[key] finds; missing where Python raises LookupError or TypeError.
Value FindItem(Interpreter& interpreter, const Value& object, const Value& key) {
  switch (object.type()) {
    case Type::kUndefined:
      RaiseUndefined(object);
    case Type::kDict: {
      if (key.Is(Type::kList) || key.Is(Type::kDict)) return {};
      RequireHashable(interpreter.heap(), key);
      const Value* value = object.AsDict().Find(key);
      return value == nullptr ? Value() : *value;
    }
    case Type::kText:
    case Type::kList:
    case Type::kTuple:
    case Type::kRange:
      return key.integer() ? GetIndexed(interpreter, object, key.AsInt()) : Value();
    default:
      return {};
  }
}

// A bound of a slice as an index into what is `length` long, clamped.
int64_t SliceBound(const Value& bound, int64_t length, bool backwards, int64_t absent) {
  if (bound.missing() || bound.none()) return absent;
  if (!bound.integer()) {
    Raise("slice indices must be integers or None or have an __index__ method");
  }
  const int64_t lowest = backwards ? -1 : 0;
  const int64_t highest = backwards ? length - 1 : length;
  const int64_t index = bound.AsInt();
  if (index >= 0) return std::min(index, highest);
  return index < -length ? lowest : std::max(index + length, lowest);
}

bool IsDunder(std::string_view name) { return name.starts_with("__") && name.ends_with("__"); }

}  // namespace

Value FindAttribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  switch (object.type()) {
    case Type::kUndefined:
      RaiseUndefined(object);
    case Type::kNamespace: {
      const Value* value = object.AsNamespace().attributes.Find(name);
      return value == nullptr ? Value() : *value;
    }
    case Type::kCallable:
      return object.AsCallable().Attribute(interpreter, name);
    default:
      break;
  }
  if (IsDunder(name) && !(object.Is(Type::kDict) && object.AsDict().Find(name) != nullptr)) {
    return interpreter.heap().Undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, TypeName(object)));
  }
  return FindMethod(interpreter, object, name);
}

Value GetAttribute(Interpreter& interpreter, const Value& object, const Value& name) {
  const Value attribute = FindAttribute(interpreter, object, name.bytes());
  if (!attribute.missing()) return attribute;
  const Value item = FindItem(interpreter, object, name);
  return item.missing() ? interpreter.heap().UndefinedAttribute(object, name) : item;
}

Value GetItem(Interpreter& interpreter, const Value& object, const Value& key) {
  const Value item = FindItem(interpreter, object, key);
  if (!item.missing()) return item;
  const Value attribute = key.text() ? FindAttribute(interpreter, object, key.bytes()) : Value();
  return attribute.missing() ? interpreter.heap().UndefinedAttribute(object, key) : attribute;
}

Value GetSlice(Interpreter& interpreter, const Value& object, const Value& start, const Value& stop,
               const Value& step) {
  if (object.undefined()) RaiseUndefined(object);
  if (!object.text() && !object.sequence() && !object.Is(Type::kRange)) {
    Raise("'{}' object is not subscriptable with a slice", TypeName(object));
  }
  if (!step.missing() && !step.none() && !step.integer()) {
    Raise("slice indices must be integers or None or have an __index__ method");
  }
  const int64_t stride = step.missing() || step.none() ? 1 : step.AsInt();
  if (stride == 0) Raise("slice step cannot be zero");
  const int64_t length = LengthOf(object);
  const bool back = stride < 0;
  const int64_t first = SliceBound(start, length, back, back ? length - 1 : 0);
  const int64_t last = SliceBound(stop, length, back, back ? -1 : length);
  Heap& heap = interpreter.heap();
  const Range indices(first, last, stride);
  if (object.text()) {
    const Text& text = object.AsText();
    heap.Walk(text.bytes.size());
    if (stride == 1) {
      return heap.Str(std::string(Substring(text, first, std::max(first, last))), text.markup);
    }
    std::vector<size_t> offsets;
    heap.Check(text.length() * sizeof(size_t));
    for (size_t at = 0; at < text.bytes.size(); at += DecodeUtf8(text.bytes, at).bytes) {
      offsets.push_back(at);
    }
    offsets.push_back(text.bytes.size());
    std::string sliced;
    for (int64_t i = 0; i < indices.size; ++i) {
      const auto at = static_cast<size_t>(first + i * stride);
      sliced.append(text.bytes, offsets[at], offsets[at + 1] - offsets[at]);
    }
    return heap.Str(std::move(sliced), text.markup);
  }
  if (object.Is(Type::kRange)) {
    const Range& range = object.AsRange();
    int64_t by = 0;
    if (__builtin_mul_overflow(range.step, stride, &by)) {
      RaiseUnsupported("integers beyond 64 bits");
    }
    return {Type::kRange,
            heap.New<Range>(range.start + first * range.step, range.start + last * range.step, by)};
  }
  heap.Check(indices.size * sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < indices.size; ++i) items.push_back(object.items()[first + i * stride]);
  return object.Is(Type::kList) ? heap.List(std::move(items)) : heap.Tuple(std::move(items));
}

int64_t LengthOf(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kText:
      return value.AsText().length();
    case Type::kList:
    case Type::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Type::kDict:
      return static_cast<int64_t>(value.AsDict().entries.size());
    case Type::kView:
      return static_cast<int64_t>(value.AsView().dict.AsDict().entries.size());
    case Type::kRange:
      return value.AsRange().size;
    case Type::kCallable:
      return value.AsCallable().Length();
    default:
      return -1;
  }
}

Value ItemAt(Interpreter& interpreter, const Value& value, int64_t index) {
  switch (value.type()) {
    case Type::kText: {
      const Text& text = value.AsText();
      if (!text.ascii()) interpreter.heap().Walk(text.bytes.size());
      return interpreter.heap().Str(std::string(Substring(text, index, index + 1)), text.markup);
    }
    case Type::kList:
    case Type::kTuple:
      return value.items()[index];
    case Type::kRange:
      return Value::Int(value.AsRange().start + index * value.AsRange().step);
    case Type::kDict:
      return value.AsDict().entries[index].first;
    case Type::kView: {
      const auto& entry = value.AsView().dict.AsDict().entries[index];
      if (value.AsView().kind == View::Kind::kItems) return Tuple(interpreter, entry);
      return value.AsView().kind == View::Kind::kKeys ? entry.first : entry.second;
    }
    default:
      return {};
  }
}

bool IsIterable(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kNone:
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
    case Type::kNamespace:
      return false;
    case Type::kCallable:
      return value.AsCallable().Length() >= 0;
    default:
      return true;
  }
}

Iterator& Iterate(Interpreter& interpreter, const Value& value) {
  Heap& heap = interpreter.heap();
  if (!IsIterable(value)) Raise("'{}' object is not iterable", TypeName(value));
  switch (value.type()) {
    case Type::kIterator:
      return value.AsIterator();
    case Type::kUndefined:
      return IterateOver(interpreter, {}).AsIterator();
    case Type::kText:
      return heap.Iterate(heap.New<CharacterIterator>(value.AsText()), value).AsIterator();
    case Type::kCallable:
      RaiseUnsupported("iterating over 'loop'");
    default:
      return heap.Iterate(heap.New<IndexIterator>(value, false), value).AsIterator();
  }
}

std::vector<Value> Items(Interpreter& interpreter, const Value& value) {
  if (value.sequence()) {
    interpreter.heap().Step(value.items().size());
    return value.items();
  }
  Iterator& iterator = Iterate(interpreter, value);
  std::vector<Value> items;
  Value item;
  while (interpreter.Next(iterator, item)) {
    interpreter.heap().Check(items.size() * sizeof(Value));
    items.push_back(item);
  }
  return items;
}

Value Reversed(Interpreter& interpreter, const Value& value) {
  Heap& heap = interpreter.heap();
  switch (value.type()) {
    case Type::kUndefined:
      return IterateOver(interpreter, {});
    case Type::kText: {
      std::vector<Value> items = Items(interpreter, value);
      std::ranges::reverse(items);
      return IterateOver(interpreter, std::move(items));
    }
    case Type::kList:
    case Type::kTuple:
    case Type::kDict:
    case Type::kView:
    case Type::kRange:
      return heap.Iterate(heap.New<IndexIterator>(value, true), value);
    default:
      return {};
  }
}

Value IterateOver(Interpreter& interpreter, std::vector<Value> items) {
  Heap& heap = interpreter.heap();
  const Value list = heap.List(std::move(items));
  return heap.Iterate(heap.New<IndexIterator>(list, false), list);
}

}  // namespace halftone::jinja
