// Filters that make or change numbers.

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// int() of a float that is finite.
Value Truncated(double value) {
  if (std::abs(value) >= 0x1p63) RaiseUnsupported("integers beyond 64 bits");
  return Value::Int(static_cast<int64_t>(value));
}

// float(value); none where Python raises TypeError or ValueError.
std::optional<double> ToFloat(const Value& value) {
  if (value.undefined()) RaiseUndefined(value);
  if (value.number()) return value.ToDouble();
  return value.text() ? ReadFloat(value.bytes()) : std::nullopt;
}

Value IntFilter(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("int", arguments, {"default", "base"});
  const int64_t base = parameters.Int(1, 10);
  if (value.integer()) return Value::Int(value.AsInt());
  if (value.Is(Type::kFloat) && std::isinf(value.AsFloat())) {
    Raise("cannot convert float infinity to integer");
  }
  if (value.text()) {
    if (const auto integer = ReadInteger(value.bytes(), base)) return Value::Int(*integer);
  }
  const auto real = ToFloat(value);
  return real && std::isfinite(*real) ? Truncated(*real) : parameters.Or(0, Value::Int(0));
}

Value FloatFilter(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("float", arguments, {"default"});
  const auto real = ToFloat(value);
  return real ? Value::Float(*real) : parameters.Or(0, Value::Float(0));
}

Value AbsFilter(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("abs", arguments, {});
  if (value.Is(Type::kFloat)) return Value::Float(std::abs(value.AsFloat()));
  if (!value.integer()) Raise("bad operand type for abs(): '{}'", TypeName(value));
  return value.AsInt() < 0 ? Negative(value) : Value::Int(value.AsInt());
}

// The nearest multiple of 10^places; halves go to the even one.
Value RoundInteger(int64_t value, int64_t places) {
  if (places > 18) return Value::Int(0);
  int64_t unit = 1;
  for (int64_t i = 0; i < places; ++i) unit *= 10;
  const __int128 wide = value;
  __int128 quotient = wide / unit;
  const __int128 rest = wide % unit;
  const __int128 twice = rest < 0 ? -2 * rest : 2 * rest;
  if (twice > unit || (twice == unit && quotient % 2 != 0)) quotient += value < 0 ? -1 : 1;
  const __int128 rounded = quotient * unit;
  if (rounded > INT64_MAX || rounded < INT64_MIN) RaiseUnsupported("integers beyond 64 bits");
  return Value::Int(static_cast<int64_t>(rounded));
}

double RoundFloat(double value, int64_t digits) {
  if (!std::isfinite(value)) return value;
  if (digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) {
    // Printing rounds the exact binary value correctly.
    char buffer[700];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(digits), value);
    return std::strtod(buffer, nullptr);
  }
  const long double unit = std::pow(10.0L, static_cast<long double>(-digits));
  return static_cast<double>(std::nearbyint(static_cast<long double>(value) / unit) * unit);
}

Value RoundFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("round", arguments, {"precision", "method"});
  const std::string method = parameters.Has(1) ? Str(parameters[1]) : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    Raise("method must be common, ceil or floor");
  }
  if (!value.number()) Raise("type {} doesn't define __round__ method", TypeName(value));
  const Value precision = parameters.Or(0, Value::Int(0));
  if (method == "common") {
    // round(x, none) makes an integer of a float.
    if (precision.none() && value.Is(Type::kFloat)) {
      if (!std::isfinite(value.AsFloat())) Raise("cannot convert float to integer");
      return Truncated(RoundFloat(value.AsFloat(), 0));
    }
    const int64_t digits = precision.none() ? 0 : parameters.Int(0, 0);
    if (value.Is(Type::kFloat)) return Value::Float(RoundFloat(value.AsFloat(), digits));
    return digits >= 0 ? Value::Int(value.AsInt()) : RoundInteger(value.AsInt(), -digits);
  }
  const Value unit = Arithmetic(interpreter, Operator::kPower, Value::Int(10), precision);
  const Value scaled = Arithmetic(interpreter, Operator::kMultiply, value, unit);
  Value whole = Value::Int(scaled.integer() ? scaled.AsInt() : 0);
  if (scaled.Is(Type::kFloat)) {
    const double real = scaled.AsFloat();
    if (!std::isfinite(real)) Raise("cannot convert float to integer");
    whole = Truncated(method == "ceil" ? std::ceil(real) : std::floor(real));
  }
  return Arithmetic(interpreter, Operator::kDivide, whole, unit);
}

constexpr NamedFunction kFilters[] = {
    {"int", IntFilter}, {"float", FloatFilter}, {"abs", AbsFilter}, {"round", RoundFilter}};

}  // namespace

std::span<const NamedFunction> NumberFilters() { return kFilters; }

}  // namespace halftone::jinja
