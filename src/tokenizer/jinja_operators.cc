#include "tokenizer/jinja_operators.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_format.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

constexpr const char* kSymbols[] = {
    "+", "-", "*", "/", "//", "%", "** or pow()", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

const char* Symbol(Operator op) { return kSymbols[static_cast<int>(op)]; }

[[noreturn]] void RaiseOperands(Operator op, const Value& left, const Value& right) {
  Raise("unsupported operand type(s) for {}: '{}' and '{}'", Symbol(op), TypeName(left),
        TypeName(right));
}

[[noreturn]] void RaiseTooLarge() { RaiseUnsupported("integers beyond 64 bits"); }

int64_t FloorDivide(int64_t a, int64_t b) {
  if (b == -1 && a == INT64_MIN) RaiseTooLarge();
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t FloorModulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// The floor of a / b, and what is left, by floats as CPython has them.
std::pair<double, double> FloorDivide(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest == 0) {
    rest = std::copysign(0.0, b);
  } else if ((b < 0) != (rest < 0)) {
    rest += b;
    quotient -= 1;
  }
  if (quotient == 0) return {std::copysign(0.0, a / b), rest};
  double floor = std::floor(quotient);
  if (quotient - floor > 0.5) floor += 1;
  return {floor, rest};
}

Value IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) Raise("0.0 cannot be raised to a negative power");
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t power = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(power, base, &power)) RaiseTooLarge();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) RaiseTooLarge();
  }
  return Value::Int(power);
}

Value FloatPower(double base, double exponent) {
  if (base == 0 && exponent < 0) Raise("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) &&
      exponent != std::floor(exponent)) {
    RaiseUnsupported("complex numbers");
  }
  const double power = std::pow(base, exponent);
  if (std::isinf(power) && std::isfinite(base) && std::isfinite(exponent)) {
    Raise("the power is too large for a float");
  }
  return Value::Float(power);
}

Value IntegerArithmetic(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kPower:
      return IntegerPower(a, b);
    default:
      if (b == 0) Raise("division by zero");
      if (op == Operator::kDivide) {
        return Value::Float(
            static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
      }
      result = op == Operator::kModulo ? FloorModulo(a, b) : FloorDivide(a, b);
  }
  if (overflow) RaiseTooLarge();
  return Value::Int(result);
}

Value FloatArithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::Float(a + b);
    case Operator::kSubtract:
      return Value::Float(a - b);
    case Operator::kMultiply:
      return Value::Float(a * b);
    case Operator::kPower:
      return FloatPower(a, b);
    default:
      if (b == 0) Raise("float division by zero");
      if (op == Operator::kDivide) return Value::Float(a / b);
      const auto [floor, rest] = FloorDivide(a, b);
      return Value::Float(op == Operator::kModulo ? rest : floor);
  }
}

Value Repeat(Heap& heap, const Value& value, int64_t times) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  if (value.text()) {
    const std::string& bytes = value.bytes();
    if (!bytes.empty() && count > kMaxBytes / bytes.size()) heap.Check(UINT64_MAX);
    heap.Check(bytes.size() * count);
    std::string text;
    text.reserve(bytes.size() * count);
    for (uint64_t i = 0; i < count && !bytes.empty(); ++i) text += bytes;
    return heap.Str(std::move(text), value.AsText().markup);
  }
  const std::vector<Value>& items = value.items();
  if (!items.empty() && count > kMaxBytes / items.size()) heap.Check(UINT64_MAX);
  heap.Check(items.size() * count * sizeof(Value));
  std::vector<Value> repeated;
  repeated.reserve(items.size() * count);
  for (uint64_t i = 0; i < count && !items.empty(); ++i) {
    repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return value.Is(Type::kList) ? heap.List(std::move(repeated)) : heap.Tuple(std::move(repeated));
}

Value Concatenate(Heap& heap, const Value& left, const Value& right) {
  if (left.text()) {
    const bool markup = left.AsText().markup || right.AsText().markup;
    heap.Check(left.bytes().size() + right.bytes().size());
    return heap.Str(markup ? Escaped(left) + Escaped(right) : left.bytes() + right.bytes(), markup);
  }
  std::vector<Value> items = left.items();
  heap.Check((items.size() + right.items().size()) * sizeof(Value));
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.Is(Type::kList) ? heap.List(std::move(items)) : heap.Tuple(std::move(items));
}

bool EqualItems(Heap& heap, const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::ranges::equal(a, b,
                            [&](const Value& x, const Value& y) { return Equal(heap, x, y); });
}

bool EqualDicts(Heap& heap, const Dict& a, const Dict& b) {
  return a.entries.size() == b.entries.size() &&
         std::ranges::all_of(a.entries, [&](const auto& entry) {
           const Value* other = b.Find(entry.first);
           return other != nullptr && Equal(heap, entry.second, *other);
         });
}

bool Ordered(Heap& heap, Operator op, const Value& left, const Value& right) {
  const auto decide = [&](const auto& a, const auto& b) {
    switch (op) {
      case Operator::kLess:
        return a < b;
      case Operator::kLessEqual:
        return a <= b;
      case Operator::kGreater:
        return a > b;
      default:
        return a >= b;
    }
  };
  heap.Step();
  if (left.number() && right.number()) return decide(left.Wide(), right.Wide());
  if (left.text() && right.text()) {
    heap.Walk(std::min(left.bytes().size(), right.bytes().size()));
    // UTF-8 sorts as its code points do.
    return decide(left.bytes(), right.bytes());
  }
  if (left.sequence() && left.type() == right.type()) {
    const std::vector<Value>& a = left.items();
    const std::vector<Value>& b = right.items();
    size_t i = 0;
    while (i < a.size() && i < b.size() && Equal(heap, a[i], b[i])) ++i;
    if (i < a.size() && i < b.size()) return Ordered(heap, op, a[i], b[i]);
    return decide(a.size(), b.size());
  }
  if (left.undefined()) RaiseUndefined(left);
  if (right.undefined()) RaiseUndefined(right);
  Raise("'{}' not supported between instances of '{}' and '{}'", Symbol(op), TypeName(left),
        TypeName(right));
}

bool InView(Heap& heap, const View& view, const Value& item) {
  const Dict& dict = view.dict.AsDict();
  const auto equal = [&](const Value& value) { return Equal(heap, value, item); };
  switch (view.kind) {
    case View::Kind::kKeys:
      RequireHashable(heap, item);
      return dict.Find(item) != nullptr;
    case View::Kind::kValues:
      return std::ranges::any_of(dict.entries, equal, &std::pair<Value, Value>::second);
    case View::Kind::kItems: {
      if (!item.Is(Type::kTuple) || item.items().size() != 2) return false;
      RequireHashable(heap, item.items()[0]);
      const Value* value = dict.Find(item.items()[0]);
      return value != nullptr && Equal(heap, *value, item.items()[1]);
    }
  }
  return false;
}

bool InRange(const Range& range, const Value& item) {
  if (!item.number()) return false;
  const double real = item.ToDouble();
  if (item.Is(Type::kFloat) && (real != std::floor(real) || std::abs(real) > 1e15)) return false;
  const int64_t wanted = item.integer() ? item.AsInt() : static_cast<int64_t>(real);
  if (range.step > 0 ? wanted < range.start || wanted >= range.stop
                     : wanted > range.start || wanted <= range.stop) {
    return false;
  }
  return (wanted - range.start) % range.step == 0;
}

}  // namespace

bool Truth(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
      return value.AsInt() != 0;
    case Type::kFloat:
      return value.AsFloat() != 0;
    case Type::kIterator:
    case Type::kNamespace:
      return true;
    case Type::kCallable:
      return value.AsCallable().Length() != 0;
    default:
      return value.text() ? !value.bytes().empty() : LengthOf(value) != 0;
  }
}

Value Arithmetic(Interpreter& interpreter, Operator op, const Value& left, const Value& right) {
  Heap& heap = interpreter.heap();
  if (left.integer() && right.integer()) return IntegerArithmetic(op, left.AsInt(), right.AsInt());
  if (left.number() && right.number()) {
    return FloatArithmetic(op, left.ToDouble(), right.ToDouble());
  }
  // A text knows % for whatever is on its right.
  if (op == Operator::kModulo && left.text()) return FormatPercent(interpreter, left, right);
  if (left.undefined()) RaiseUndefined(left);
  if (right.undefined()) RaiseUndefined(right);
  const bool alike = left.type() == right.type() && (left.text() || left.sequence());
  if (op == Operator::kAdd && alike) return Concatenate(heap, left, right);
  if (op == Operator::kMultiply) {
    if ((left.text() || left.sequence()) && right.integer()) {
      return Repeat(heap, left, right.AsInt());
    }
    if ((right.text() || right.sequence()) && left.integer()) {
      return Repeat(heap, right, left.AsInt());
    }
  }
  if (op == Operator::kSubtract && left.Is(Type::kView)) {
    RaiseUnsupported("sets, which {} makes of dict views", Symbol(op));
  }
  RaiseOperands(op, left, right);
}

Value Negative(const Value& value) {
  if (value.undefined()) RaiseUndefined(value);
  if (value.Is(Type::kFloat)) return Value::Float(-value.AsFloat());
  if (!value.integer()) Raise("bad operand type for unary -: '{}'", TypeName(value));
  if (value.AsInt() == INT64_MIN) RaiseTooLarge();
  return Value::Int(-value.AsInt());
}

Value Positive(const Value& value) {
  if (value.undefined()) RaiseUndefined(value);
  if (value.Is(Type::kFloat)) return value;
  if (!value.integer()) Raise("bad operand type for unary +: '{}'", TypeName(value));
  return Value::Int(value.AsInt());
}

bool Equal(Heap& heap, const Value& left, const Value& right) {
  heap.Step();
  if (left.number() && right.number()) return left.Wide() == right.Wide();
  if (left.type() != right.type()) return false;
  switch (left.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kText:
      if (left.bytes().size() == right.bytes().size()) heap.Walk(left.bytes().size());
      return left.bytes() == right.bytes();
    case Type::kList:
    case Type::kTuple:
      return left.object() == right.object() || EqualItems(heap, left.items(), right.items());
    case Type::kDict:
      return left.object() == right.object() || EqualDicts(heap, left.AsDict(), right.AsDict());
    case Type::kRange:
      return SameKey(left, right);
    case Type::kView:
      if (left.object() == right.object()) return true;
      RaiseUnsupported("comparing dict views");
    default:
      return left.object() == right.object();
  }
}

bool Less(Heap& heap, const Value& left, const Value& right) {
  return Ordered(heap, Operator::kLess, left, right);
}

bool Compare(Interpreter& interpreter, Operator op, const Value& left, const Value& right) {
  switch (op) {
    case Operator::kEqual:
      return Equal(interpreter.heap(), left, right);
    case Operator::kNotEqual:
      return !Equal(interpreter.heap(), left, right);
    case Operator::kIn:
      return Contains(interpreter, right, left);
    case Operator::kNotIn:
      return !Contains(interpreter, right, left);
    default:
      return Ordered(interpreter.heap(), op, left, right);
  }
}

bool Contains(Interpreter& interpreter, const Value& container, const Value& item) {
  Heap& heap = interpreter.heap();
  const auto equal = [&](const Value& value) { return Equal(heap, value, item); };
  switch (container.type()) {
    case Type::kText:
      if (!item.text()) {
        Raise("'in <string>' requires string as left operand, not {}", TypeName(item));
      }
      heap.Walk(container.bytes().size());
      return Find(container.bytes(), item.bytes()) != std::string::npos;
    case Type::kList:
    case Type::kTuple:
      return std::ranges::any_of(container.items(), equal);
    case Type::kDict:
      RequireHashable(heap, item);
      return container.AsDict().Find(item) != nullptr;
    case Type::kView:
      return InView(heap, container.AsView(), item);
    case Type::kRange:
      return InRange(container.AsRange(), item);
    case Type::kUndefined:
      return false;
    case Type::kIterator: {
      Value value;
      while (interpreter.Next(container.AsIterator(), value)) {
        if (equal(value)) return true;
      }
      return false;
    }
    default:
      Raise("argument of type '{}' is not iterable", TypeName(container));
  }
}

}  // namespace halftone::jinja
