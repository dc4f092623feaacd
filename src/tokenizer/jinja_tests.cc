// The tests of jinja2: `value is name(arguments)`.

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/jinja_unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// A test that looks at the value alone.
template <bool (*kTest)(const Value&)>
Value Simple(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("test", arguments, {});
  return Value::Bool(kTest(value));
}

template <Operator kOperator>
Value Comparison(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("test", arguments, {""}, 1);
  return Value::Bool(Compare(interpreter, kOperator, value, parameters[0]));
}

Value Modulo(Interpreter& interpreter, const Value& value, int64_t divisor) {
  return Arithmetic(interpreter, Operator::kModulo, value, Value::Int(divisor));
}

Value Odd(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("odd", arguments, {});
  return Value::Bool(Equal(interpreter.heap(), Modulo(interpreter, value, 2), Value::Int(1)));
}

Value Even(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("even", arguments, {});
  return Value::Bool(Equal(interpreter.heap(), Modulo(interpreter, value, 2), Value::Int(0)));
}

Value DivisibleBy(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("divisibleby", arguments, {"num"}, 1);
  const Value rest = Arithmetic(interpreter, Operator::kModulo, value, parameters[0]);
  return Value::Bool(Equal(interpreter.heap(), rest, Value::Int(0)));
}

Value In(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("in", arguments, {"seq"}, 1);
  return Value::Bool(Contains(interpreter, parameters[0], value));
}

// Python's `is`. Small integers, constants and equal literals are one object there.
Value SameAs(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("sameas", arguments, {"other"}, 1);
  const Value& other = parameters[0];
  if (value.type() != other.type()) return Value::Bool(false);
  switch (value.type()) {
    case Type::kNone:
      return Value::Bool(true);
    case Type::kBool:
    case Type::kInt:
      return Value::Bool(value.AsInt() == other.AsInt());
    case Type::kFloat:
      return Value::Bool(value.AsFloat() == other.AsFloat());
    case Type::kText:
      return Value::Bool(value.bytes() == other.bytes());
    default:
      return Value::Bool(value.object() == other.object());
  }
}

Value IsFilterName(Interpreter& interpreter, const Value& value, const Arguments&) {
  RequireHashable(interpreter.heap(), value);
  return Value::Bool(value.text() && FindFilter(value.bytes()) != nullptr);
}

Value IsTestName(Interpreter& interpreter, const Value& value, const Arguments&) {
  RequireHashable(interpreter.heap(), value);
  return Value::Bool(value.text() && FindTest(value.bytes()) != nullptr);
}

bool Defined(const Value& value) { return !value.undefined(); }
bool IsUndefined(const Value& value) { return value.undefined(); }
bool None(const Value& value) { return value.none(); }
bool Boolean(const Value& value) { return value.Is(Type::kBool); }
bool False(const Value& value) { return value.Is(Type::kBool) && !value.AsBool(); }
bool True(const Value& value) { return value.Is(Type::kBool) && value.AsBool(); }
bool Integer(const Value& value) { return value.Is(Type::kInt); }
bool Float(const Value& value) { return value.Is(Type::kFloat); }
bool Number(const Value& value) { return value.number(); }
bool String(const Value& value) { return value.text(); }
bool Mapping(const Value& value) { return value.Is(Type::kDict); }
bool LowerCase(const Value& value) { return IsLower(Str(value)); }
bool UpperCase(const Value& value) { return IsUpper(Str(value)); }
bool Escaped(const Value& value) { return value.text() && value.AsText().markup; }
bool IsCallable(const Value& value) { return value.Is(Type::kCallable) || value.undefined(); }
// Whatever has a length and can be indexed; undefined values claim both.
bool IsSequence(const Value& value) {
  return value.text() || value.sequence() || value.undefined() || value.Is(Type::kDict) ||
         value.Is(Type::kRange);
}

constexpr NamedFunction kTests[] = {
    {"odd", Odd},
    {"even", Even},
    {"divisibleby", DivisibleBy},
    {"defined", Simple<Defined>},
    {"undefined", Simple<IsUndefined>},
    {"filter", IsFilterName},
    {"test", IsTestName},
    {"none", Simple<None>},
    {"boolean", Simple<Boolean>},
    {"false", Simple<False>},
    {"true", Simple<True>},
    {"integer", Simple<Integer>},
    {"float", Simple<Float>},
    {"lower", Simple<LowerCase>},
    {"upper", Simple<UpperCase>},
    {"string", Simple<String>},
    {"mapping", Simple<Mapping>},
    {"number", Simple<Number>},
    {"sequence", Simple<IsSequence>},
    {"iterable", Simple<IsIterable>},
    {"callable", Simple<IsCallable>},
    {"sameas", SameAs},
    {"escaped", Simple<Escaped>},
    {"in", In},
    {"==", Comparison<Operator::kEqual>},
    {"eq", Comparison<Operator::kEqual>},
    {"equalto", Comparison<Operator::kEqual>},
    {"!=", Comparison<Operator::kNotEqual>},
    {"ne", Comparison<Operator::kNotEqual>},
    {">", Comparison<Operator::kGreater>},
    {"gt", Comparison<Operator::kGreater>},
    {"greaterthan", Comparison<Operator::kGreater>},
    {"ge", Comparison<Operator::kGreaterEqual>},
    {">=", Comparison<Operator::kGreaterEqual>},
    {"<", Comparison<Operator::kLess>},
    {"lt", Comparison<Operator::kLess>},
    {"lessthan", Comparison<Operator::kLess>},
    {"<=", Comparison<Operator::kLessEqual>},
    {"le", Comparison<Operator::kLessEqual>},
};

}  // namespace

Function FindTest(std::string_view name) { return FindIn(kTests, name); }

}  // namespace halftone::jinja
