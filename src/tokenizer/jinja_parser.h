// The part of the parser that reads expressions; statements build on it.
//
// Precedence and quirks are jinja2's: ** goes from left to right and binds weaker than a sign, ~
// binds stronger than +, filters bind stronger than any operator but a sign's operand has none.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_lexer.h"
#include "tokenizer/jinja_syntax.h"

namespace halftone::jinja {

class ExpressionParser {
 protected:
  using Kind = Expression::Kind;

  ExpressionParser(std::string_view source, Heap& heap, Template& parsed);

  const Token& Current() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  void Skip() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);
  void ExpectOperator(std::string_view op);
  std::string ExpectName();
  [[noreturn]] void FailHere(const std::string& message) const;
  // How the current token is called in messages.
  std::string Describe() const;

  // Index of a variable's name.
  int Name(const std::string& name);
  Expression* Make(Kind kind, std::vector<const Expression*> parts = {});

  const Expression* ParseExpression(bool conditional = true);
  // One expression, or several with commas between as a tuple. `end_name`: the word that may follow
  // a comma instead of an expression.
  const Expression* ParseTuple(bool conditional = true, std::string_view end_name = {},
                               bool parenthesized = false);
  // What {% set %} (then `attributes`: name.attribute too), for and with assign to.
  const Expression* ParseTarget(bool attributes, std::string_view end_name = {});
  // "|filter..." upon `subject` (null: a block); with `bare`, the first filter comes without "|".
  const Expression* ParseFilters(const Expression* subject, bool bare);

  // Counts the levels of syntax that are open; throws when there are too many.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.level_; }

   private:
    ExpressionParser& parser_;
  };

  Heap& heap_;
  Template& template_;
  // The macros and call blocks that enclose this place.
  std::vector<Signature*> signatures_;
  int loops_ = 0;  // that enclose it

 private:
  using Parser = const Expression* (ExpressionParser::*)();

  const Expression* ParseConditional();
  const Expression* ParseOr() { return ParseLogical(Kind::kOr, "or", &ExpressionParser::ParseAnd); }
  const Expression* ParseAnd() {
    return ParseLogical(Kind::kAnd, "and", &ExpressionParser::ParseNot);
  }
  const Expression* ParseLogical(Kind kind, std::string_view word, Parser operand);
  const Expression* ParseNot();
  const Expression* ParseCompare();
  const Expression* ParseSum();
  const Expression* ParseConcat();
  const Expression* ParseProduct();
  const Expression* ParsePower();
  const Expression* ParseUnary(bool filters);
  const Expression* ParsePrimary();
  const Expression* ParseName();
  const Expression* ParseList();
  const Expression* ParseDict();
  const Expression* ParsePostfix(const Expression* subject);
  const Expression* ParseFilterExpression(const Expression* subject);
  const Expression* ParseSubscript(const Expression* subject);
  const Expression* ParseSubscripts(const Expression* subject);
  const Expression* ParseCall(const Expression* subject);
  CallSyntax ParseCallArguments();
  void ParseCallArgument(CallSyntax& call);
  const Expression* ParseTest(const Expression* subject);
  const Expression* ParseTargetPart(bool attributes);
  std::string ParseDottedName();
  // Notes that an expression has this part (may be null), its arguments.
  void Contain(Expression& expression, const Expression* part);
  void ContainCall(Expression& expression);

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
  std::map<std::string, int, std::less<>> names_;
};

}  // namespace halftone::jinja
