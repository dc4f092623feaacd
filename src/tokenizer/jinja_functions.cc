#include "tokenizer/jinja_functions.h"

#include <algorithm>

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_operators.h"

namespace halftone::jinja {
namespace {

struct BoundFunction : Callable {
  BoundFunction(std::string_view a_name, Function a_function, const Value& a_subject)
      : name(a_name), function(a_function), subject(a_subject) {}
  Value Call(Interpreter& interpreter, const Arguments& arguments) override {
    return function(interpreter, subject, arguments);
  }
  std::string Repr() const override { return fmt::format("<function {}>", name); }

  const std::string name;
  const Function function;
  const Value subject;
};

}  // namespace

Value Bound(Interpreter& interpreter, std::string_view name, Function function,
            const Value& subject) {
  return Heap::Of(interpreter.heap().New<BoundFunction>(name, function, subject));
}

Function FindIn(std::span<const NamedFunction> functions, std::string_view name) {
  const auto it = std::ranges::find(functions, name, &NamedFunction::name);
  return it == functions.end() ? nullptr : it->function;
}

Parameters::Parameters(std::string_view function, const Arguments& arguments,
                       std::initializer_list<std::string_view> names, size_t required)
    : function_(function), values_(names.size()) {
  if (arguments.positional.size() > names.size()) {
    Raise("{}() takes at most {} arguments ({} given)", function, names.size(),
          arguments.positional.size());
  }
  std::ranges::copy(arguments.positional, values_.begin());
  for (const auto& [name, value] : arguments.named) {
    const auto* it = std::ranges::find(names, std::string_view(name));
    if (name.empty() || it == names.end()) {
      Raise("{}() got an unexpected keyword argument '{}'", function, name);
    }
    Value& place = values_[it - names.begin()];
    if (!place.missing()) Raise("{}() got multiple values for argument '{}'", function, name);
    place = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i].missing()) Raise("{}() is missing argument {}", function, i + 1);
  }
}

int64_t Parameters::Int(size_t i, int64_t other) const {
  if (!Has(i)) return other;
  if (!values_[i].integer()) {
    Raise("{}(): '{}' object cannot be interpreted as an integer", function_, TypeName(values_[i]));
  }
  return values_[i].AsInt();
}

const Text& Parameters::AsText(size_t i) const {
  if (!values_[i].text()) {
    Raise("{}() argument {} must be str, not {}", function_, i + 1, TypeName(values_[i]));
  }
  return values_[i].AsText();
}

bool Parameters::Truth(size_t i, bool other) const {
  return Has(i) ? jinja::Truth(values_[i]) : other;
}

Function FindFilter(std::string_view name) {
  for (const auto table :
       {TextFilters(), FormFilters(), SequenceFilters(), SelectionFilters(), NumberFilters()}) {
    if (const Function function = FindIn(table, name)) return function;
  }
  return nullptr;
}

void RaiseNoFilter(std::string_view name) {
  static constexpr std::string_view kLacking[] = {
      "filesizeformat", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"};
  if (std::ranges::find(kLacking, name) != std::end(kLacking)) {
    RaiseUnsupported("the filter '{}'", name);
  }
  Raise("no filter named '{}'", name);
}

void RaiseNoTest(std::string_view name) { Raise("no test named '{}'", name); }

Value CallFilter(Interpreter& interpreter, const Value& name, const Value& subject,
                 const Arguments& arguments) {
  const Function function = name.text() ? FindFilter(name.bytes()) : nullptr;
  if (function == nullptr) RaiseNoFilter(name.text() ? name.bytes() : TypeName(name));
  return function(interpreter, subject, arguments);
}

bool CallTest(Interpreter& interpreter, const Value& name, const Value& subject,
              const Arguments& arguments) {
  const Function function = name.text() ? FindTest(name.bytes()) : nullptr;
  if (function == nullptr) RaiseNoTest(name.text() ? name.bytes() : TypeName(name));
  return Truth(function(interpreter, subject, arguments));
}

}  // namespace halftone::jinja
