#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/jinja_parser.h"

namespace halftone::jinja {
namespace {

using Kind = Expression::Kind;

struct OperatorName {
  std::string_view text;
  Operator op;
};

constexpr OperatorName kSums[] = {{"+", Operator::kAdd}, {"-", Operator::kSubtract}};
constexpr OperatorName kProducts[] = {{"*", Operator::kMultiply},
                                      {"/", Operator::kDivide},
                                      {"//", Operator::kFloorDivide},
                                      {"%", Operator::kModulo}};
constexpr OperatorName kComparisons[] = {
    {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};

template <size_t N>
const OperatorName* FindOperator(const OperatorName (&names)[N], const Token& token) {
  if (token.kind != Token::Kind::kOperator) return nullptr;
  const auto* it = std::ranges::find(names, token.text, &OperatorName::text);
  return it == std::end(names) ? nullptr : it;
}

bool CanAssign(const Expression& target) {
  if (target.kind == Kind::kTuple) {
    return std::ranges::all_of(target.parts, [](const Expression* e) { return CanAssign(*e); });
  }
  return target.kind == Kind::kName || target.kind == Kind::kAttributeRef;
}

}  // namespace

ExpressionParser::ExpressionParser(std::string_view source, Heap& heap, Template& parsed)
    : heap_(heap), template_(parsed), tokens_(Tokenize(source)) {}

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.level_ > kMaxDepth) {
    FailUnsupported("chat template, line {}: nested deeper than {} levels", parser.Current().line,
                    kMaxDepth);
  }
}

bool ExpressionParser::SkipOperator(std::string_view op) {
  const bool here = Current().IsOperator(op);
  if (here) Skip();
  return here;
}

bool ExpressionParser::SkipName(std::string_view name) {
  const bool here = Current().IsName(name);
  if (here) Skip();
  return here;
}

void ExpressionParser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailHere(fmt::format("expected '{}', got {}", op, Describe()));
}

std::string ExpressionParser::ExpectName() {
  if (Current().kind != Token::Kind::kName) {
    FailHere(fmt::format("expected a name, got {}", Describe()));
  }
  std::string name = Current().text;
  Skip();
  return name;
}

void ExpressionParser::FailHere(const std::string& message) const {
  FailSyntax(Current().line, message);
}

std::string ExpressionParser::Describe() const {
  switch (Current().kind) {
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kBlockEnd:
    case Token::Kind::kVariableEnd:
      return "the end of the tag";
    case Token::Kind::kString:
      return "a string";
    default:
      return fmt::format("'{}'", Printable(Current().text, 32));
  }
}

int ExpressionParser::Name(const std::string& name) {
  const auto [it, added] = names_.emplace(name, static_cast<int>(template_.names.size()));
  if (added) template_.names.push_back(name);
  return it->second;
}

void ExpressionParser::Contain(Expression& expression, const Expression* part) {
  if (part == nullptr) return;
  expression.depth = std::max(expression.depth, part->depth + 1);
  if (expression.depth > kMaxDepth) {
    FailUnsupported("chat template, line {}: an expression of more than {} levels", expression.line,
                    kMaxDepth);
  }
}

Expression* ExpressionParser::Make(Kind kind, std::vector<const Expression*> parts) {
  Expression& made = template_.expressions.emplace_back();
  made.kind = kind;
  made.line = Current().line;
  made.parts = std::move(parts);
  for (const Expression* part : made.parts) Contain(made, part);
  return &made;
}

const Expression* ExpressionParser::ParseExpression(bool conditional) {
  return conditional ? ParseConditional() : ParseOr();
}

const Expression* ExpressionParser::ParseConditional() {
  const Expression* value = ParseOr();
  while (SkipName("if")) {
    const Expression* condition = ParseOr();
    const Expression* other = nullptr;
    if (SkipName("else")) {
      const Level level(*this);
      other = ParseConditional();
    }
    value = Make(Kind::kConditional, {value, condition, other});
  }
  return value;
}

const Expression* ExpressionParser::ParseLogical(Kind kind, std::string_view word, Parser operand) {
  const Expression* first = (this->*operand)();
  if (!Current().IsName(word)) return first;
  std::vector<const Expression*> parts{first};
  while (SkipName(word)) parts.push_back((this->*operand)());
  return Make(kind, std::move(parts));
}

const Expression* ExpressionParser::ParseNot() {
  if (!SkipName("not")) return ParseCompare();
  const Level level(*this);
  return Make(Kind::kNot, {ParseNot()});
}

const Expression* ExpressionParser::ParseCompare() {
  std::vector<const Expression*> parts{ParseSum()};
  std::vector<Operator> operators;
  while (true) {
    if (const OperatorName* comparison = FindOperator(kComparisons, Current())) {
      Skip();
      operators.push_back(comparison->op);
    } else if (SkipName("in")) {
      operators.push_back(Operator::kIn);
    } else if (Current().IsName("not") && Next().IsName("in")) {
      Skip();
      Skip();
      operators.push_back(Operator::kNotIn);
    } else {
      break;
    }
    parts.push_back(ParseSum());
  }
  if (operators.empty()) return parts[0];
  Expression* compare = Make(Kind::kCompare, std::move(parts));
  compare->operators = std::move(operators);
  return compare;
}

const Expression* ExpressionParser::ParseSum() {
  std::vector<const Expression*> parts{ParseConcat()};
  std::vector<Operator> operators;
  while (const OperatorName* sum = FindOperator(kSums, Current())) {
    Skip();
    operators.push_back(sum->op);
    parts.push_back(ParseConcat());
  }
  if (operators.empty()) return parts[0];
  Expression* chain = Make(Kind::kArithmetic, std::move(parts));
  chain->operators = std::move(operators);
  return chain;
}

const Expression* ExpressionParser::ParseConcat() {
  const Expression* first = ParseProduct();
  if (!Current().IsOperator("~")) return first;
  std::vector<const Expression*> parts{first};
  while (SkipOperator("~")) parts.push_back(ParseProduct());
  return Make(Kind::kConcat, std::move(parts));
}

const Expression* ExpressionParser::ParseProduct() {
  std::vector<const Expression*> parts{ParsePower()};
  std::vector<Operator> operators;
  while (const OperatorName* product = FindOperator(kProducts, Current())) {
    Skip();
    operators.push_back(product->op);
    parts.push_back(ParsePower());
  }
  if (operators.empty()) return parts[0];
  Expression* chain = Make(Kind::kArithmetic, std::move(parts));
  chain->operators = std::move(operators);
  return chain;
}

const Expression* ExpressionParser::ParsePower() {
  std::vector<const Expression*> parts{ParseUnary(true)};
  while (SkipOperator("**")) parts.push_back(ParseUnary(true));
  if (parts.size() == 1) return parts[0];
  Expression* chain = Make(Kind::kArithmetic, std::move(parts));
  chain->operators.assign(chain->parts.size() - 1, Operator::kPower);
  return chain;
}

const Expression* ExpressionParser::ParseUnary(bool filters) {
  const Expression* value;
  if (const bool negative = Current().IsOperator("-"); negative || Current().IsOperator("+")) {
    const Level level(*this);
    Skip();
    value = Make(negative ? Kind::kNegative : Kind::kPositive, {ParseUnary(false)});
  } else {
    value = ParsePrimary();
  }
  value = ParsePostfix(value);
  return filters ? ParseFilterExpression(value) : value;
}

const Expression* ExpressionParser::ParseName() {
  static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                    "False", "none", "None"};
  const std::string name = Current().text;
  const auto* constant = std::ranges::find(kConstants, name);
  Expression* made = Make(constant == std::end(kConstants) ? Kind::kName : Kind::kConstant);
  Skip();
  if (made->kind == Kind::kConstant) {
    const auto index = constant - std::begin(kConstants);
    made->constant = index < 4 ? Value::Bool(index < 2) : Value::None();
    return made;
  }
  made->name = Name(name);
  for (Signature* signature : signatures_) {
    signature->uses_caller |= name == "caller";
    signature->uses_named |= name == "kwargs";
    signature->uses_positional |= name == "varargs";
  }
  return made;
}

const Expression* ExpressionParser::ParsePrimary() {
  const Token& token = Current();
  switch (token.kind) {
    case Token::Kind::kName:
      return ParseName();
    case Token::Kind::kString: {
      Expression* made = Make(Kind::kConstant);
      std::string text;
      for (; Current().kind == Token::Kind::kString; Skip()) text += Current().text;
      made->constant = heap_.Str(std::move(text));
      return made;
    }
    case Token::Kind::kInteger:
    case Token::Kind::kFloat: {
      Expression* made = Make(Kind::kConstant);
      made->constant = token.kind == Token::Kind::kInteger ? Value::Int(token.integer)
                                                           : Value::Float(token.real);
      Skip();
      return made;
    }
    default:
      break;
  }
  const Level level(*this);
  if (SkipOperator("(")) {
    const Expression* inner = ParseTuple(true, {}, true);
    ExpectOperator(")");
    return inner;
  }
  if (SkipOperator("[")) return ParseList();
  if (SkipOperator("{")) return ParseDict();
  FailHere(fmt::format("expected an expression, got {}", Describe()));
}

const Expression* ExpressionParser::ParseList() {
  std::vector<const Expression*> items;
  while (!Current().IsOperator("]")) {
    if (!items.empty()) {
      ExpectOperator(",");
      if (Current().IsOperator("]")) break;
    }
    items.push_back(ParseExpression());
  }
  ExpectOperator("]");
  return Make(Kind::kList, std::move(items));
}

const Expression* ExpressionParser::ParseDict() {
  std::vector<const Expression*> items;
  while (!Current().IsOperator("}")) {
    if (!items.empty()) {
      ExpectOperator(",");
      if (Current().IsOperator("}")) break;
    }
    items.push_back(ParseExpression());
    ExpectOperator(":");
    items.push_back(ParseExpression());
  }
  ExpectOperator("}");
  return Make(Kind::kDict, std::move(items));
}

const Expression* ExpressionParser::ParseTuple(bool conditional, std::string_view end_name,
                                               bool parenthesized) {
  std::vector<const Expression*> items;
  bool tuple = false;
  while (true) {
    const bool end = Current().kind == Token::Kind::kVariableEnd ||
                     Current().kind == Token::Kind::kBlockEnd || Current().IsOperator(")") ||
                     (!end_name.empty() && Current().IsName(end_name));
    if (end) break;
    items.push_back(ParseExpression(conditional));
    if (!SkipOperator(",")) break;
    tuple = true;
  }
  if (!tuple && !items.empty()) return items[0];
  if (!tuple && !parenthesized) {
    FailHere(fmt::format("expected an expression, got {}", Describe()));
  }
  return Make(Kind::kTuple, std::move(items));
}

const Expression* ExpressionParser::ParseTargetPart(bool attributes) {
  if (!attributes || Current().kind != Token::Kind::kName || !Next().IsOperator(".")) {
    return ParsePrimary();
  }
  Expression* made = Make(Kind::kAttributeRef);
  made->name = Name(ExpectName());
  Skip();
  made->text = ExpectName();
  made->constant = heap_.Str(made->text);
  return made;
}

const Expression* ExpressionParser::ParseTarget(bool attributes, std::string_view end_name) {
  std::vector<const Expression*> items;
  bool tuple = false;
  while (true) {
    const bool end = Current().kind == Token::Kind::kBlockEnd ||
                     (!end_name.empty() && Current().IsName(end_name));
    if (end) break;
    items.push_back(ParseTargetPart(attributes));
    if (!SkipOperator(",")) break;
    tuple = true;
  }
  if (items.empty()) FailHere(fmt::format("expected a name, got {}", Describe()));
  const Expression* target = tuple ? Make(Kind::kTuple, std::move(items)) : items[0];
  if (!CanAssign(*target)) FailHere("cannot assign to this expression");
  return target;
}

}  // namespace halftone::jinja
