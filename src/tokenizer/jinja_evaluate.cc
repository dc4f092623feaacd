// Expressions.

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {

using Kind = Expression::Kind;

Value Interpreter::Evaluate(const Expression& expression) {
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.constant;
    case Kind::kName:
      heap_.Step();
      return Lookup(expression.name);
    default:
      return EvaluateCompound(expression);
  }
}

Value Interpreter::EvaluateCompound(const Expression& expression) {
  const Level level(*this);
  const auto part = [&](size_t i) { return Evaluate(*expression.parts[i]); };
  switch (expression.kind) {
    case Kind::kList:
      return heap_.List(EvaluateAll(expression.parts));
    case Kind::kTuple:
      return heap_.Tuple(EvaluateAll(expression.parts));
    case Kind::kDict:
      return EvaluateDict(expression);
    case Kind::kNot:
      return Value::Bool(!Truth(part(0)));
    case Kind::kNegative:
      return Negative(part(0));
    case Kind::kPositive:
      return Positive(part(0));
    case Kind::kAnd:
    case Kind::kOr:
      return EvaluateLogical(expression);
    case Kind::kArithmetic:
      return EvaluateArithmetic(expression);
    case Kind::kCompare:
      return EvaluateCompare(expression);
    case Kind::kConcat:
      return EvaluateConcat(expression);
    case Kind::kConditional:
      return EvaluateConditional(expression);
    case Kind::kAttribute: {
      const Value object = part(0);
      line_ = expression.line;
      return GetAttribute(*this, object, expression.constant);
    }
    case Kind::kItem: {
      const Value object = part(0);
      const Value key = part(1);
      line_ = expression.line;
      return GetItem(*this, object, key);
    }
    case Kind::kSlice:
      return EvaluateSlice(expression);
    case Kind::kCall:
      return EvaluateCall(expression, nullptr);
    case Kind::kFilter:
      return EvaluateFilter(expression, nullptr);
    case Kind::kTest:
      return EvaluateTest(expression);
    case Kind::kConstant:
    case Kind::kName:
    case Kind::kAttributeRef:
      break;  // handled above, or never evaluated
  }
  return Value::None();
}

std::vector<Value> Interpreter::EvaluateAll(const std::vector<const Expression*>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const Expression* expression : expressions) values.push_back(Evaluate(*expression));
  return values;
}

Value Interpreter::EvaluateDict(const Expression& expression) {
  auto* dict = heap_.New<Dict>();
  heap_.Charge(expression.parts.size() * sizeof(Value));
  for (size_t i = 0; i < expression.parts.size(); i += 2) {
    const Value key = Evaluate(*expression.parts[i]);
    const Value value = Evaluate(*expression.parts[i + 1]);
    RequireHashable(heap_, key);
    dict->Set(key, value);
  }
  return Heap::Of(dict);
}

Value Interpreter::EvaluateLogical(const Expression& expression) {
  Value value;
  for (const Expression* part : expression.parts) {
    value = Evaluate(*part);
    if (Truth(value) == (expression.kind == Kind::kOr)) break;
  }
  return value;
}

Value Interpreter::EvaluateArithmetic(const Expression& expression) {
  Value value = Evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = Evaluate(*expression.parts[i + 1]);
    line_ = expression.line;
    value = Arithmetic(*this, expression.operators[i], value, right);
  }
  return value;
}

Value Interpreter::EvaluateCompare(const Expression& expression) {
  Value left = Evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = Evaluate(*expression.parts[i + 1]);
    line_ = expression.line;
    if (!Compare(*this, expression.operators[i], left, right)) return Value::Bool(false);
    left = right;
  }
  return Value::Bool(true);
}

Value Interpreter::EvaluateConcat(const Expression& expression) {
  std::string text;
  for (const Value& value : EvaluateAll(expression.parts)) {
    if (value.text()) heap_.Check(text.size() + value.bytes().size());
    AppendStr(value, text);
  }
  return heap_.Str(std::move(text));
}

Value Interpreter::EvaluateConditional(const Expression& expression) {
  if (Truth(Evaluate(*expression.parts[1]))) return Evaluate(*expression.parts[0]);
  if (expression.parts[2] != nullptr) return Evaluate(*expression.parts[2]);
  return heap_.Undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was "
                  "defined.",
                  expression.line));
}

Value Interpreter::EvaluateSlice(const Expression& expression) {
  Value values[4];
  for (size_t i = 0; i < 4; ++i) {
    if (expression.parts[i] != nullptr) values[i] = Evaluate(*expression.parts[i]);
  }
  line_ = expression.line;
  return GetSlice(*this, values[0], values[1], values[2], values[3]);
}

Arguments Interpreter::EvaluateArguments(const CallSyntax& call) {
  Arguments arguments;
  arguments.positional = EvaluateAll(call.positional);
  for (const auto& [name, expression] : call.named) {
    arguments.named.emplace_back(name, Evaluate(*expression));
  }
  if (call.more_positional != nullptr) {
    const Value more = Evaluate(*call.more_positional);
    if (more.undefined()) {
      // Iterating over it gives nothing.
    } else {
      for (const Value& item : Items(*this, more)) arguments.positional.push_back(item);
    }
  }
  if (call.more_named != nullptr) {
    const Value more = Evaluate(*call.more_named);
    if (!more.Is(Value::Type::kDict)) {
      Raise("argument after ** must be a mapping, not {}", TypeName(more));
    }
    for (const auto& [key, value] : more.AsDict().entries) {
      if (!key.text()) Raise("keywords must be strings");
      arguments.named.emplace_back(key.bytes(), value);
    }
  }
  return arguments;
}

Value Interpreter::EvaluateCall(const Expression& expression, const Value* caller) {
  const Value callee = Evaluate(*expression.parts[0]);
  Arguments arguments = EvaluateArguments(expression.call);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = expression.line;
  return Call(callee, arguments);
}

Value Interpreter::EvaluateFilter(const Expression& expression, const Value* block) {
  // Filters of a block stand one within the other; the innermost is applied to the block's text.
  const Expression* subject = expression.parts[0];
  const Value value = subject == nullptr ? *block
                      : block != nullptr ? EvaluateFilter(*subject, block)
                                         : Evaluate(*subject);
  const Arguments arguments = EvaluateArguments(expression.call);
  line_ = expression.line;
  if (expression.function == nullptr) RaiseNoFilter(expression.text);
  return expression.function(*this, value, arguments);
}

Value Interpreter::EvaluateTest(const Expression& expression) {
  const Value value = Evaluate(*expression.parts[0]);
  const Arguments arguments = EvaluateArguments(expression.call);
  line_ = expression.line;
  if (expression.function == nullptr) RaiseNoTest(expression.text);
  return expression.function(*this, value, arguments);
}

}  // namespace halftone::jinja
