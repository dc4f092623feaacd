#include "tokenizer/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

constexpr size_t kFewKeys = 8;

int DepthOf(const Value& value) {
  switch (value.type()) {
    case Value::Type::kList:
    case Value::Type::kTuple:
      return value.AsSequence().depth;
    case Value::Type::kDict:
      return value.AsDict().depth;
    case Value::Type::kView:
      return value.AsView().dict.AsDict().depth;
    case Value::Type::kIterator:
      return value.AsIterator().depth;
    default:
      return 0;
  }
}

void Deepen(int& depth, const Value& child) {
  depth = std::max(depth, DepthOf(child) + 1);
  if (depth > kMaxDepth) RaiseUnsupported("values nested deeper than {} levels", kMaxDepth);
}

size_t Hash(const Value& key) {
  switch (key.type()) {
    case Value::Type::kText:
      return std::hash<std::string_view>()(key.bytes());
    case Value::Type::kTuple: {
      size_t hash = key.items().size();
      for (const Value& item : key.items()) hash = hash * 1000003 ^ Hash(item);
      return hash;
    }
    case Value::Type::kBool:
    case Value::Type::kInt:
    case Value::Type::kFloat:
      return std::hash<double>()(key.ToDouble());
    case Value::Type::kUndefined:
    case Value::Type::kNone:
      return static_cast<size_t>(key.type());
    case Value::Type::kRange:
      return static_cast<size_t>(key.AsRange().size);
    default:
      return std::hash<const Object*>()(key.object());
  }
}

}  // namespace

int64_t Text::length() const {
  if (length_ < 0) length_ = CodePoints(bytes);
  return length_;
}

bool SameKey(const Value& a, const Value& b) {
  if (a.text() && b.text()) return a.bytes() == b.bytes();
  if (a.integer() && b.integer()) return a.AsInt() == b.AsInt();
  if (a.number() && b.number()) {
    return a.Wide() == b.Wide();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Value::Type::kUndefined:
    case Value::Type::kNone:
      return true;
    case Value::Type::kTuple:
      return std::ranges::equal(a.items(), b.items(), SameKey);
    case Value::Type::kRange: {
      const Range& x = a.AsRange();
      const Range& y = b.AsRange();
      return x.size == y.size &&
             (x.size == 0 || (x.start == y.start && (x.size == 1 || x.step == y.step)));
    }
    default:
      return a.object() == b.object();
  }
}

void Dict::Set(const Value& key, const Value& value) {
  Deepen(depth, key);
  Deepen(depth, value);
  if (const Value* old = Find(key)) {
    *const_cast<Value*>(old) = value;
    return;
  }
  entries.emplace_back(key, value);
  if (entries.size() < kFewKeys) return;
  const size_t first = index_.empty() ? 0 : entries.size() - 1;
  for (size_t i = first; i < entries.size(); ++i) index_.emplace(Hash(entries[i].first), i);
}

const Value* Dict::Find(const Value& key) const {
  if (index_.empty()) {
    const auto it = std::ranges::find_if(entries, [&](auto& e) { return SameKey(e.first, key); });
    return it == entries.end() ? nullptr : &it->second;
  }
  const auto [begin, end] = index_.equal_range(Hash(key));
  for (auto it = begin; it != end; ++it) {
    if (SameKey(entries[it->second].first, key)) return &entries[it->second].second;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  const auto matches = [&](const Value& k) { return k.text() && k.bytes() == key; };
  if (index_.empty()) {
    const auto it = std::ranges::find_if(entries, [&](auto& e) { return matches(e.first); });
    return it == entries.end() ? nullptr : &it->second;
  }
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>()(key));
  for (auto it = begin; it != end; ++it) {
    if (matches(entries[it->second].first)) return &entries[it->second].second;
  }
  return nullptr;
}

Range::Range(int64_t a_start, int64_t a_stop, int64_t a_step)
    : start(a_start), stop(a_stop), step(a_step) {
  const auto from = static_cast<__int128>(step > 0 ? start : stop);
  const auto to = static_cast<__int128>(step > 0 ? stop : start);
  const __int128 stride = step > 0 ? step : -static_cast<__int128>(step);
  const __int128 count = to > from ? (to - from + stride - 1) / stride : 0;
  size = static_cast<int64_t>(std::min<__int128>(count, INT64_MAX));
}

Value Heap::Str(std::string text, bool markup) {
  Charge(text.size());
  return {Value::Type::kText, New<Text>(std::move(text), markup)};
}

Value Heap::MakeSequence(Value::Type type, std::vector<Value> items) {
  Charge(items.size() * sizeof(Value));
  auto* sequence = New<Sequence>();
  for (const Value& item : items) Deepen(sequence->depth, item);
  sequence->items = std::move(items);
  return {type, sequence};
}

Value Heap::Undefined(std::string hint) {
  auto* undefined = New<jinja::Undefined>();
  undefined->hint = std::move(hint);
  return {Value::Type::kUndefined, undefined};
}

Value Heap::UndefinedVariable(const Value& name) { return UndefinedAttribute(Value(), name); }

Value Heap::UndefinedAttribute(const Value& object, const Value& name) {
  auto* undefined = New<jinja::Undefined>();
  undefined->object = object;
  undefined->name = name;
  return {Value::Type::kUndefined, undefined};
}

Value Heap::Iterate(Iterator* iterator, const Value& source) {
  Deepen(iterator->depth, source);
  return {Value::Type::kIterator, iterator};
}

void Heap::OutOf(const char* what, uint64_t limit) {
  RaiseUnsupported("rendering takes more than {} {}", limit, what);
}

std::string_view TypeName(const Value& value) {
  switch (value.type()) {
    case Value::Type::kMissing:
    case Value::Type::kUndefined:
      return "Undefined";
    case Value::Type::kNone:
      return "NoneType";
    case Value::Type::kBool:
      return "bool";
    case Value::Type::kInt:
      return "int";
    case Value::Type::kFloat:
      return "float";
    case Value::Type::kText:
      return value.AsText().markup ? "Markup" : "str";
    case Value::Type::kList:
      return "list";
    case Value::Type::kTuple:
      return "tuple";
    case Value::Type::kDict:
      return "dict";
    case Value::Type::kView: {
      constexpr std::string_view kNames[] = {"dict_keys", "dict_values", "dict_items"};
      return kNames[static_cast<int>(value.AsView().kind)];
    }
    case Value::Type::kRange:
      return "range";
    case Value::Type::kIterator:
      return "generator";
    case Value::Type::kNamespace:
      return "Namespace";
    case Value::Type::kCallable:
      return "function";
  }
  return "object";
}

std::string ObjectName(const Value& value) {
  return value.none() ? "None" : fmt::format("{} object", TypeName(value));
}

void RaiseUndefined(const Value& value) {
  const Undefined& undefined = value.AsUndefined();
  if (!undefined.hint.empty()) Raise("{}", undefined.hint);
  const std::string name = Repr(undefined.name);
  if (undefined.object.missing()) Raise("{} is undefined", name);
  const std::string object = ObjectName(undefined.object);
  if (undefined.name.text()) Raise("'{}' has no attribute {}", object, name);
  Raise("{} has no element {}", object, name);
}

void RequireHashable(Heap& heap, const Value& value) {
  heap.Step();
  if (value.Is(Value::Type::kList) || value.Is(Value::Type::kDict)) {
    Raise("unhashable type: '{}'", TypeName(value));
  }
  if (value.Is(Value::Type::kTuple)) {
    for (const Value& item : value.items()) RequireHashable(heap, item);
  }
}

}  // namespace halftone::jinja
