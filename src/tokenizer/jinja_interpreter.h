// Runs a parsed template.
//
// Variables are found as jinja2 finds them: loops, macros, call blocks, filter and set blocks and
// {% with %} each open a scope, {% if %} does not; {% set %} writes to the innermost scope; a macro
// sees the scope that it was defined in, as it is when the macro runs.

#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja_syntax.h"
#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

struct Scope {
  Scope* parent = nullptr;                       // null: the template's own variables
  std::vector<std::pair<int, Value>> variables;  // a missing value: an undefined parameter
  bool captured = false;                         // something may outlive the scope's end
};

class Interpreter {
 public:
  Interpreter(const Template& parsed, Heap& heap);

  // Renders the template with the variables in `context`. Throws Failure.
  std::string Run(const Dict& context);

  Heap& heap() { return heap_; }
  // The line of what is being evaluated.
  int line() const { return line_; }

  // callee(arguments).
  Value Call(const Value& callee, const Arguments& arguments);
  // Draws the next item; false at the end.
  bool Next(Iterator& iterator, Value& item);
  Value Evaluate(const Expression& expression);

  // What macros, loops and their filters need.
  // The text that a recursive loop renders for other items.
  Value RenderLoop(const Statement& loop, Scope* parent, const Value& items, int depth);
  // Evaluates the condition of a loop for an item.
  bool Admits(const Statement& loop, Scope* parent, const Value& item);
  // Evaluates the defaults of the parameters that are missing, in a scope below `parent`, then
  // renders the body.
  Value RenderMacro(const Statement& macro, Scope* parent,
                    std::vector<std::pair<int, Value>> variables);
  const std::string& NameOf(int name) const { return template_.names[name]; }
  // -1: no variable has this name.
  int FindName(std::string_view name) const;

 private:
  enum class Flow { kOn, kBreak, kContinue };

  // Levels of the C++ stack in use; throws when there are too many.
  class Level {
   public:
    explicit Level(Interpreter& interpreter);
    ~Level() { --interpreter_.level_; }

   private:
    Interpreter& interpreter_;
  };
  // Enters a new scope, a body's if one is given, for as long as it lives.
  class Entered {
   public:
    Entered(Interpreter& interpreter, Scope* parent, const Body* body);
    ~Entered();

   private:
    Interpreter& interpreter_;
    Scope* const before_;
    Scope* scope_;
  };
  // Sends output to a text of its own for as long as it lives.
  class Captured {
   public:
    explicit Captured(Interpreter& interpreter) : interpreter_(interpreter) {
      std::swap(interpreter_.output_, before_);
    }
    ~Captured() { std::swap(interpreter_.output_, before_); }
    Value Text() { return interpreter_.heap_.Str(std::move(interpreter_.output_)); }

   private:
    Interpreter& interpreter_;
    std::string before_;
  };

  void Capture(Scope* scope);
  Value Lookup(int name);
  void AssignName(int name, const Value& value);
  void Assign(const Expression& target, const Value& value);
  void RequireNamespaces(const Expression& target);
  void Write(std::string_view text);
  // Writes what a filter or call block gives, which jinja2 does not convert.
  void WriteText(const Value& value);

  Flow Execute(const Block& block);
  Flow Execute(const Statement& statement);
  void ExecutePrint(const Statement& statement);
  Flow ExecuteIf(const Statement& statement);
  Flow ExecuteFor(const Statement& statement);
  Flow ExecuteLoop(const Statement& statement, Scope* parent, const Value& items, int depth);
  Flow ExecuteSetBlock(const Statement& statement);
  Flow ExecuteFilter(const Statement& statement);
  Flow ExecuteWith(const Statement& statement);
  void ExecuteCall(const Statement& statement);

  Value EvaluateCompound(const Expression& expression);
  Value EvaluateDict(const Expression& expression);
  Value EvaluateLogical(const Expression& expression);
  Value EvaluateArithmetic(const Expression& expression);
  Value EvaluateCompare(const Expression& expression);
  Value EvaluateConcat(const Expression& expression);
  Value EvaluateConditional(const Expression& expression);
  Value EvaluateSlice(const Expression& expression);
  Value EvaluateFilter(const Expression& expression, const Value* block);
  Value EvaluateTest(const Expression& expression);
  Value EvaluateCall(const Expression& expression, const Value* caller);
  Arguments EvaluateArguments(const CallSyntax& call);
  std::vector<Value> EvaluateAll(const std::vector<const Expression*>& expressions);

  const Template& template_;
  Heap& heap_;
  std::vector<Value> variables_;  // of the template itself, by name
  std::deque<std::unique_ptr<Scope>> scopes_;
  std::vector<Scope*> free_scopes_;
  Scope* scope_ = nullptr;
  std::string output_;
  int line_ = 1;
  int level_ = 0;
  int loop_name_ = -1;
};

}  // namespace halftone::jinja
