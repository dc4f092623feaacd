// A parsed template: statements and expressions, as jinja2's parser sees them.

#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

struct Expression;

// A filter or test as the interpreter calls it.
using Function = Value (*)(Interpreter&, const Value& subject, const Arguments&);

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

// The arguments of a call, filter or test as written.
struct CallSyntax {
  std::vector<const Expression*> positional;
  std::vector<std::pair<std::string, const Expression*>> named;
  const Expression* more_positional = nullptr;  // *x
  const Expression* more_named = nullptr;       // **x
};

struct Expression {
  enum class Kind {
    kConstant,      // constant
    kName,          // name
    kAttributeRef,  // name.text: a target of {% set %} only
    kList,          // parts
    kTuple,         // parts
    kDict,          // parts: key, value, key, value ...
    kNot,           // parts[0]
    kNegative,      // parts[0]
    kPositive,      // parts[0]
    kAnd,           // parts, two or more
    kOr,            // parts, two or more
    kArithmetic,    // parts[0] operators[0] parts[1] ..., from left to right
    kCompare,       // the same, chained
    kConcat,        // parts, two or more
    kConditional,   // parts: value, condition, other value or null
    kAttribute,     // parts[0].text
    kItem,          // parts[0][parts[1]]
    kSlice,         // parts[0][parts[1]:parts[2]:parts[3]], the last three may be null
    kCall,          // parts[0](call)
    kFilter,        // parts[0]|text(call); parts[0] is null: of the block that the filter is for
    kTest,          // parts[0] is text(call)
  };

  Kind kind;
  int line = 0;
  int depth = 1;  // of expressions within
  int name = -1;  // index into Template::names
  std::string text;
  Value constant;
  std::vector<const Expression*> parts;
  std::vector<Operator> operators;
  CallSyntax call;
  Function function = nullptr;  // of a filter or test; null: there is none of that name
};

struct Statement;
using Block = std::vector<Statement*>;

// Statements with a scope of their own.
struct Body {
  Block statements;
  // Variables that the body sets before it reads them. They are undefined from its beginning,
  // whatever the template's caller may have given under the same name.
  std::vector<int> unset;
};

// Parameters of a macro or call block; the last ones may have defaults.
struct Signature {
  std::vector<int> names;
  std::vector<const Expression*> defaults;
  bool uses_caller = false;  // the body mentions caller, kwargs, varargs
  bool uses_named = false;
  bool uses_positional = false;
};

struct Statement {
  enum class Kind {
    kText,      // text
    kPrint,     // values
    kIf,        // branches
    kFor,       // for target in values[0] [if values[1]]: body, otherwise
    kSet,       // target = values[0]
    kSetBlock,  // target = body, through filter
    kMacro,     // name, signature, body
    kCall,      // values[0] is the call; signature, body
    kFilter,    // filter, body
    kWith,      // targets = values, body
    kScope,     // {% generation %}: signature, body; works like a call block
    kBreak,
    kContinue,
  };
  struct Branch {
    const Expression* condition;  // null: else
    Block body;
  };

  Kind kind;
  int line = 0;
  int name = -1;
  std::string text;
  Value constant;  // the text as a value
  const Expression* target = nullptr;
  std::vector<const Expression*> targets;
  std::vector<const Expression*> values;
  const Expression* filter = nullptr;
  std::vector<Branch> branches;
  Body body;
  Body otherwise;
  bool recursive = false;
  Signature signature;
};

// Owns the tree. Constants lie on the heap that the template was parsed with.
struct Template {
  Body body;
  std::vector<std::string> names;  // of variables
  std::deque<Expression> expressions;
  std::deque<Statement> statements;
};

// Throws Error: kFormat with the line where the source is no template, kUnsupported for tags that
// this interpreter lacks.
std::unique_ptr<const Template> Parse(std::string_view source, Heap& heap);

}  // namespace halftone::jinja
