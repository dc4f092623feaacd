// Python's operators on values.

#pragma once

#include <cstdint>

#include "tokenizer/jinja_syntax.h"
#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

bool Truth(const Value& value);

// left + right, left - right ...
Value Arithmetic(Interpreter& interpreter, Operator op, const Value& left, const Value& right);
Value Negative(const Value& value);
Value Positive(const Value& value);

// left < right, left in right ...
bool Compare(Interpreter& interpreter, Operator op, const Value& left, const Value& right);
bool Equal(Heap& heap, const Value& left, const Value& right);
// left < right, for sorting.
bool Less(Heap& heap, const Value& left, const Value& right);
bool Contains(Interpreter& interpreter, const Value& container, const Value& item);

}  // namespace halftone::jinja
