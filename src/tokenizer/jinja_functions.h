// The functions that templates may call: filters, tests, methods and globals, and how they take
// their arguments.

#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_syntax.h"
#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

struct NamedFunction {
  std::string_view name;
  Function function;
};

// Null: there is none of that name.
Function FindIn(std::span<const NamedFunction> functions, std::string_view name);
Function FindFilter(std::string_view name);
Function FindTest(std::string_view name);
// Calls a filter or test by name, for map and select. Throws where there is none.
Value CallFilter(Interpreter& interpreter, const Value& name, const Value& subject,
                 const Arguments& arguments);
bool CallTest(Interpreter& interpreter, const Value& name, const Value& subject,
              const Arguments& arguments);
[[noreturn]] void RaiseNoFilter(std::string_view name);
[[noreturn]] void RaiseNoTest(std::string_view name);

// The variable of that name which every template has; missing if there is none.
Value FindGlobal(Interpreter& interpreter, std::string_view name);

// The method, or other attribute, of a value of Python's own types; missing if it has none of that
// name. What the sandbox refuses comes as undefined.
Value FindMethod(Interpreter& interpreter, const Value& object, std::string_view name);
// A function with a subject: a method of a value.
Value Bound(Interpreter& interpreter, std::string_view name, Function function,
            const Value& subject);

// The values of a call's parameters; missing where the call gives none.
class Parameters {
 public:
  // Distributes arguments over parameters by position and name, as Python does. The first
  // `required` must be given; a parameter with an empty name has none that callers may use.
  Parameters(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required = 0);

  bool Has(size_t i) const { return !values_[i].missing(); }
  const Value& operator[](size_t i) const { return values_[i]; }
  Value Or(size_t i, const Value& other) const { return Has(i) ? values_[i] : other; }
  // An integer; throws where it is none.
  int64_t Int(size_t i, int64_t other) const;
  // A string; throws where it is none.
  const Text& AsText(size_t i) const;
  bool Truth(size_t i, bool other) const;

 private:
  std::string_view function_;
  std::vector<Value> values_;
};

// Tables of functions, each beside its functions.
std::span<const NamedFunction> TextFilters();
std::span<const NamedFunction> FormFilters();
std::span<const NamedFunction> SequenceFilters();
std::span<const NamedFunction> SelectionFilters();
std::span<const NamedFunction> NumberFilters();
std::span<const NamedFunction> TextMethods();
std::span<const NamedFunction> SplitMethods();

}  // namespace halftone::jinja
