// Attributes that filters name: "a.b.0" is item 0 of attribute b of attribute a.

#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

class AttributePath {
 public:
  // `attribute`: a text, an integer, or none or missing for the item itself.
  AttributePath(Interpreter& interpreter, const Value& attribute);
  AttributePath(Interpreter& interpreter, std::string_view dotted);

  // What the path leads to. `fallback` stands in for what is undefined on the way, unless it is
  // missing or none.
  Value Get(Interpreter& interpreter, const Value& item, const Value& fallback = {}) const;

 private:
  void Split(Interpreter& interpreter, std::string_view dotted);

  std::vector<Value> parts_;
};

// A text in lower case, anything else as it is: how filters compare unless told otherwise.
Value IgnoreCase(Interpreter& interpreter, const Value& value);

// A Python generator: an iterator whose items `next` makes one by one from those of `source`.
Value Generate(Interpreter& interpreter, const Value& source,
               std::function<bool(Interpreter&, Value&)> next);

}  // namespace halftone::jinja
