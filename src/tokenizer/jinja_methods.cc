// Methods of lists, tuples, dicts and ranges, attributes of numbers, and what the sandbox refuses.

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

Value GetMethod(Interpreter& interpreter, const Value& dict, const Arguments& arguments) {
  const Parameters parameters("get", arguments, {"", ""}, 1);
  RequireHashable(interpreter.heap(), parameters[0]);
  const Value* value = dict.AsDict().Find(parameters[0]);
  return value != nullptr ? *value : parameters.Or(1, Value::None());
}

template <View::Kind kKind>
Value ViewMethod(Interpreter& interpreter, const Value& dict, const Arguments& arguments) {
  const Parameters parameters("dict method", arguments, {});
  return {Type::kView, interpreter.heap().New<View>(dict, kKind)};
}

Value CopyDictMethod(Interpreter& interpreter, const Value& dict, const Arguments& arguments) {
  const Parameters parameters("copy", arguments, {});
  auto* copy = interpreter.heap().New<Dict>();
  interpreter.heap().Charge(dict.AsDict().entries.size() * 2 * sizeof(Value));
  for (const auto& [key, value] : dict.AsDict().entries) copy->Set(key, value);
  return Heap::Of(copy);
}

Value CopyListMethod(Interpreter& interpreter, const Value& list, const Arguments& arguments) {
  const Parameters parameters("copy", arguments, {});
  return interpreter.heap().List(list.items());
}

Value CountMethod(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("count", arguments, {""}, 1);
  int64_t count = 0;
  for (const Value& item : Items(interpreter, value)) {
    count += Equal(interpreter.heap(), item, parameters[0]) ? 1 : 0;
  }
  return Value::Int(count);
}

Value IndexMethod(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("index", arguments, {"", "", ""}, 1);
  const std::vector<Value> items = Items(interpreter, value);
  const auto size = static_cast<int64_t>(items.size());
  const auto bound = [&](size_t i, int64_t absent) {
    const int64_t at = parameters.Int(i, absent);
    return at < 0 ? std::max<int64_t>(at + size, 0) : std::min(at, size);
  };
  const int64_t end = bound(2, size);
  for (int64_t i = bound(1, 0); i < end; ++i) {
    if (Equal(interpreter.heap(), items[i], parameters[0])) return Value::Int(i);
  }
  Raise("{} is not in {}", Repr(parameters[0]), TypeName(value));
}

Value IsIntegerMethod(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("is_integer", arguments, {});
  return Value::Bool(std::isfinite(value.AsFloat()) &&
                     value.AsFloat() == std::floor(value.AsFloat()));
}

constexpr NamedFunction kDictMethods[] = {
    {"get", GetMethod},
    {"items", ViewMethod<View::Kind::kItems>},
    {"keys", ViewMethod<View::Kind::kKeys>},
    {"values", ViewMethod<View::Kind::kValues>},
    {"copy", CopyDictMethod},
};
constexpr NamedFunction kListMethods[] = {
    {"copy", CopyListMethod}, {"count", CountMethod}, {"index", IndexMethod}};
constexpr NamedFunction kTupleMethods[] = {{"count", CountMethod}, {"index", IndexMethod}};
constexpr NamedFunction kFloatMethods[] = {{"is_integer", IsIntegerMethod}};

using Names = std::span<const std::string_view>;

// What would change a list or dict.
constexpr std::string_view kListRefused[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};
constexpr std::string_view kDictRefused[] = {"clear", "pop", "popitem", "setdefault", "update"};
// What Python has and this interpreter has not.
constexpr std::string_view kDictLacking[] = {"fromkeys"};
constexpr std::string_view kTextLacking[] = {"casefold", "encode",    "expandtabs",
                                             "istitle",  "maketrans", "translate"};
constexpr std::string_view kMarkupLacking[] = {"escape", "striptags", "unescape"};
constexpr std::string_view kIntLacking[] = {"as_integer_ratio", "bit_count",  "bit_length",
                                            "conjugate",        "from_bytes", "to_bytes"};
constexpr std::string_view kFloatLacking[] = {"as_integer_ratio", "conjugate", "fromhex", "hex"};
constexpr std::string_view kViewLacking[] = {"isdisjoint", "mapping"};

bool Has(Names names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

Value NumberAttribute(const Value& value, std::string_view name) {
  const bool real = value.Is(Type::kFloat);
  if (name == "real") return real ? value : Value::Int(value.AsInt());
  if (name == "imag") return real ? Value::Float(0) : Value::Int(0);
  if (real) return {};
  if (name == "numerator") return Value::Int(value.AsInt());
  return name == "denominator" ? Value::Int(1) : Value();
}

Value RangeAttribute(const Range& range, std::string_view name) {
  if (name == "start") return Value::Int(range.start);
  if (name == "stop") return Value::Int(range.stop);
  return name == "step" ? Value::Int(range.step) : Value();
}

struct Members {
  std::span<const NamedFunction> methods;
  Names refused;
  Names lacking;
};

Members MembersOf(Type type) {
  switch (type) {
    case Type::kDict:
      return {kDictMethods, kDictRefused, kDictLacking};
    case Type::kList:
      return {kListMethods, kListRefused, {}};
    case Type::kTuple:
    case Type::kRange:
      return {kTupleMethods, {}, {}};
    case Type::kText:
      return {TextMethods(), {}, kTextLacking};
    case Type::kView:
      return {{}, {}, kViewLacking};
    case Type::kBool:
    case Type::kInt:
      return {{}, {}, kIntLacking};
    case Type::kFloat:
      return {kFloatMethods, {}, kFloatLacking};
    default:
      return {};
  }
}

}  // namespace

Value FindMethod(Interpreter& interpreter, const Value& object, std::string_view name) {
  const Members members = MembersOf(object.type());
  Function function = FindIn(members.methods, name);
  if (function == nullptr && object.text()) function = FindIn(SplitMethods(), name);
  if (function != nullptr) return Bound(interpreter, name, function, object);
  if (Has(members.refused, name)) {
    return interpreter.heap().Undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, TypeName(object)));
  }
  const bool markup = object.text() && object.AsText().markup && Has(kMarkupLacking, name);
  if (markup || Has(members.lacking, name)) {
    RaiseUnsupported("the attribute '{}' of {}", name, TypeName(object));
  }
  if (object.number()) return NumberAttribute(object, name);
  if (object.Is(Type::kRange)) return RangeAttribute(object.AsRange(), name);
  if (object.Is(Type::kTuple) && object.AsSequence().group) {
    if (name == "grouper") return object.items()[0];
    if (name == "list") return object.items()[1];
  }
  return {};
}

}  // namespace halftone::jinja
