// Macros, and the variable `loop`.

#pragma once

#include <string>
#include <string_view>

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_syntax.h"
#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// A macro, or the caller that a call block makes.
struct Macro : Callable {
  Macro(const Statement& a_statement, Scope* a_scope, std::string a_name)
      : statement(a_statement), scope(a_scope), name(std::move(a_name)) {}

  Value Call(Interpreter& interpreter, const Arguments& arguments) override;
  std::string Repr() const override;
  Value Attribute(Interpreter& interpreter, std::string_view attribute) override;

  const Statement& statement;
  Scope* const scope;      // where it was defined
  const std::string name;  // empty: a caller
};

// `loop`. It looks one item ahead when asked for `last` or `nextitem`, and draws all the items when
// asked for the length of what has none.
struct Loop : Callable {
  Loop(Interpreter& an_interpreter, const Statement& a_statement, Scope* a_parent,
       const Value& items, int a_depth);

  bool Advance(Value& item);
  Value Call(Interpreter& interpreter, const Arguments& arguments) override;
  std::string Repr() const override;
  Value Attribute(Interpreter& interpreter, std::string_view name) override;
  int64_t Length() override;

 private:
  const Value& Peek();
  Value Numbers(std::string_view name);
  static Value Cycle(Interpreter& interpreter, const Value& loop, const Arguments& arguments);
  static Value Changed(Interpreter& interpreter, const Value& loop, const Arguments& arguments);

  Interpreter& interpreter_;
  const Statement& statement_;
  Scope* const parent_;
  Value items_;  // iterated over, unless the loop has a condition
  Iterator* source_;
  const int depth_;
  int64_t index_ = -1;
  int64_t length_ = -1;
  Value before_, current_, after_;
  bool ended_ = false;
  Value changed_;  // what loop.changed was called with last
};

}  // namespace halftone::jinja
