// What follows a value: attributes, subscripts, calls, filters and tests.

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_parser.h"

namespace halftone::jinja {

const Expression* ExpressionParser::ParsePostfix(const Expression* subject) {
  while (true) {
    if (Current().IsOperator(".") || Current().IsOperator("[")) {
      subject = ParseSubscript(subject);
    } else if (Current().IsOperator("(")) {
      subject = ParseCall(subject);
    } else {
      return subject;
    }
  }
}

const Expression* ExpressionParser::ParseFilterExpression(const Expression* subject) {
  while (true) {
    if (Current().IsOperator("|")) {
      subject = ParseFilters(subject, false);
    } else if (Current().IsName("is")) {
      subject = ParseTest(subject);
    } else if (Current().IsOperator("(")) {
      subject = ParseCall(subject);
    } else {
      return subject;
    }
  }
}

const Expression* ExpressionParser::ParseSubscript(const Expression* subject) {
  if (SkipOperator("[")) return ParseSubscripts(subject);
  ExpectOperator(".");
  if (Current().kind == Token::Kind::kInteger) {
    const Expression* index = ParsePrimary();
    return Make(Kind::kItem, {subject, index});
  }
  Expression* made = Make(Kind::kAttribute, {subject});
  made->text = ExpectName();
  made->constant = heap_.Str(made->text);
  return made;
}

// After "[": one index, one slice, or several indices that make a tuple.
const Expression* ExpressionParser::ParseSubscripts(const Expression* subject) {
  const Level level(*this);
  std::vector<const Expression*> indices;
  bool sliced = false;
  while (!Current().IsOperator("]")) {
    if (!indices.empty()) ExpectOperator(",");
    const Expression* bounds[3] = {};
    bool slice = false;
    for (int i = 0; i < 3; ++i) {
      const bool absent = Current().IsOperator(":") ||
                          ((Current().IsOperator("]") || Current().IsOperator(",")) && slice);
      if (!absent) bounds[i] = ParseExpression();
      if (i == 2 || !SkipOperator(":")) break;
      slice = true;
    }
    if ((slice && !indices.empty()) || sliced) {
      FailUnsupported("chat template, line {}: slices among several indices", Current().line);
    }
    sliced = slice;
    if (slice) {
      indices.push_back(Make(Kind::kSlice, {subject, bounds[0], bounds[1], bounds[2]}));
    } else {
      indices.push_back(bounds[0]);
    }
  }
  ExpectOperator("]");
  if (sliced) return indices[0];
  const Expression* index =
      indices.size() == 1 ? indices[0] : Make(Kind::kTuple, std::move(indices));
  return Make(Kind::kItem, {subject, index});
}

void ExpressionParser::ParseCallArgument(CallSyntax& call) {
  const auto require = [&](bool valid) {
    if (!valid) FailHere("the arguments of a call are in the wrong order");
  };
  if (SkipOperator("*")) {
    require(call.more_positional == nullptr && call.more_named == nullptr);
    call.more_positional = ParseExpression();
  } else if (SkipOperator("**")) {
    require(call.more_named == nullptr);
    call.more_named = ParseExpression();
  } else if (Current().kind == Token::Kind::kName && Next().IsOperator("=")) {
    require(call.more_named == nullptr);
    const std::string name = ExpectName();
    if (std::ranges::find(call.named, name, &std::pair<std::string, const Expression*>::first) !=
        call.named.end()) {
      FailHere(fmt::format("the argument '{}' is given twice", Printable(name, 32)));
    }
    Skip();
    call.named.emplace_back(name, ParseExpression());
  } else {
    require(call.more_positional == nullptr && call.more_named == nullptr && call.named.empty());
    call.positional.push_back(ParseExpression());
  }
}

CallSyntax ExpressionParser::ParseCallArguments() {
  const Level level(*this);
  CallSyntax call;
  ExpectOperator("(");
  for (bool first = true; !Current().IsOperator(")"); first = false) {
    if (!first) {
      ExpectOperator(",");
      if (Current().IsOperator(")")) break;
    }
    ParseCallArgument(call);
  }
  ExpectOperator(")");
  return call;
}

const Expression* ExpressionParser::ParseCall(const Expression* subject) {
  Expression* made = Make(Kind::kCall, {subject});
  made->call = ParseCallArguments();
  ContainCall(*made);
  return made;
}

void ExpressionParser::ContainCall(Expression& made) {
  for (const Expression* argument : made.call.positional) Contain(made, argument);
  for (const auto& [name, argument] : made.call.named) Contain(made, argument);
  Contain(made, made.call.more_positional);
  Contain(made, made.call.more_named);
}

std::string ExpressionParser::ParseDottedName() {
  std::string name = ExpectName();
  while (SkipOperator(".")) name += "." + ExpectName();
  return name;
}

const Expression* ExpressionParser::ParseFilters(const Expression* subject, bool bare) {
  while (bare || SkipOperator("|")) {
    bare = false;
    Expression* made = Make(Kind::kFilter, {subject});
    made->text = ParseDottedName();
    made->function = FindFilter(made->text);
    if (Current().IsOperator("(")) made->call = ParseCallArguments();
    ContainCall(*made);
    subject = made;
  }
  return subject;
}

const Expression* ExpressionParser::ParseTest(const Expression* subject) {
  Skip();
  const bool negated = SkipName("not");
  Expression* made = Make(Kind::kTest, {subject});
  made->text = ParseDottedName();
  made->function = FindTest(made->text);
  const Token& token = Current();
  const bool literal = token.kind == Token::Kind::kString || token.kind == Token::Kind::kInteger ||
                       token.kind == Token::Kind::kFloat || token.IsOperator("[") ||
                       token.IsOperator("{");
  const bool name = token.kind == Token::Kind::kName && !token.IsName("else") &&
                    !token.IsName("or") && !token.IsName("and");
  if (token.IsOperator("(")) {
    made->call = ParseCallArguments();
  } else if (token.IsName("is")) {
    FailHere("tests cannot be chained");
  } else if (literal || name) {
    made->call.positional.push_back(ParsePostfix(ParsePrimary()));
  }
  ContainCall(*made);
  return negated ? Make(Kind::kNot, {made}) : made;
}

}  // namespace halftone::jinja
