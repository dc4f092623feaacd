#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/jinja_parser.h"
#include "tokenizer/jinja_scopes.h"

namespace halftone::jinja {
namespace {

class Parser : private ExpressionParser {
 public:
  Parser(std::string_view source, Heap& heap, Template& parsed)
      : ExpressionParser(source, heap, parsed) {}

  void Run() { template_.body.statements = ParseBlock({}); }

 private:
  using Kind = Statement::Kind;
  using Ends = std::vector<std::string_view>;

  Statement* Make(Kind kind) {
    Statement& made = template_.statements.emplace_back();
    made.kind = kind;
    made.line = Current().line;
    return &made;
  }

  // Statements up to a tag whose first word is among `ends` (left as the current token), or, where
  // there are none, to the end of the template.
  Block ParseBlock(const Ends& ends) {
    const Level level(*this);
    const int line = Current().line;
    Block block;
    while (Current().kind != Token::Kind::kEnd) {
      if (Current().kind == Token::Kind::kData) {
        Statement* text = Make(Kind::kText);
        text->text = Current().text;
        block.push_back(text);
        Skip();
      } else if (Current().kind == Token::Kind::kVariableBegin) {
        Skip();
        Statement* print = Make(Kind::kPrint);
        print->values.push_back(ParseTuple());
        Expect(Token::Kind::kVariableEnd);
        block.push_back(print);
      } else {
        Expect(Token::Kind::kBlockBegin);
        if (std::ranges::any_of(ends, [&](auto end) { return Current().IsName(end); })) {
          return block;
        }
        block.push_back(ParseStatement());
        Expect(Token::Kind::kBlockEnd);
      }
    }
    if (!ends.empty()) FailSyntax(line, fmt::format("there is no {} for this", ends.back()));
    return block;
  }

  void Expect(Token::Kind kind) {
    if (Current().kind != kind) FailHere(fmt::format("unexpected {}", Describe()));
    Skip();
  }

  // The rest of a tag and the block behind it, up to one of `ends`, which is skipped. Returns it.
  std::string ParseBody(const Ends& ends, Block& body) {
    SkipOperator(":");
    Expect(Token::Kind::kBlockEnd);
    body = ParseBlock(ends);
    return ExpectName();
  }

  Statement* ParseStatement() {
    struct Tag {
      std::string_view name;
      Statement* (Parser::*parse)();
    };
    static constexpr Tag kTags[] = {{"for", &Parser::ParseFor},
                                    {"if", &Parser::ParseIf},
                                    {"set", &Parser::ParseSet},
                                    {"macro", &Parser::ParseMacro},
                                    {"call", &Parser::ParseCallBlock},
                                    {"filter", &Parser::ParseFilterBlock},
                                    {"with", &Parser::ParseWith},
                                    {"print", &Parser::ParsePrint},
                                    {"break", &Parser::ParseJump},
                                    {"continue", &Parser::ParseJump},
                                    {"generation", &Parser::ParseGeneration}};
    static constexpr std::string_view kLacking[] = {"block",  "extends", "include",
                                                    "import", "from",    "autoescape"};
    if (Current().kind != Token::Kind::kName) {
      FailHere(fmt::format("expected a tag's name, got {}", Describe()));
    }
    const std::string& name = Current().text;
    const auto* tag = std::ranges::find(kTags, name, &Tag::name);
    if (tag != std::end(kTags)) return (this->*tag->parse)();
    if (std::ranges::find(kLacking, name) != std::end(kLacking)) {
      FailUnsupported("chat template, line {}: the tag '{}'", Current().line, name);
    }
    FailHere(fmt::format("unknown tag {}", Describe()));
  }

  void ForbidLoop(const Expression& target) {
    for (const Expression* part : target.parts) ForbidLoop(*part);
    if (target.kind == Expression::Kind::kName && template_.names[target.name] == "loop") {
      FailHere("cannot assign to 'loop' in a loop");
    }
  }

  Statement* ParseFor() {
    Statement* made = Make(Kind::kFor);
    Skip();
    made->target = ParseTarget(false, "in");
    ForbidLoop(*made->target);
    if (!SkipName("in")) FailHere(fmt::format("expected 'in', got {}", Describe()));
    made->values.push_back(ParseTuple(false, "recursive"));
    made->values.push_back(SkipName("if") ? ParseExpression() : nullptr);
    made->recursive = SkipName("recursive");
    ++loops_;
    ++jumps_;
    const std::string end = ParseBody({"else", "endfor"}, made->body.statements);
    --jumps_;
    if (end == "else") ParseBody({"endfor"}, made->otherwise.statements);
    --loops_;
    return made;
  }

  Statement* ParseIf() {
    Statement* made = Make(Kind::kIf);
    Skip();
    while (true) {
      made->branches.push_back({ParseTuple(false), {}});
      const std::string end = ParseBody({"elif", "else", "endif"}, made->branches.back().body);
      if (end == "elif") continue;
      if (end == "else") {
        made->branches.push_back({nullptr, {}});
        ParseBody({"endif"}, made->branches.back().body);
      }
      return made;
    }
  }

  Statement* ParseSet() {
    Statement* made = Make(Kind::kSet);
    Skip();
    made->target = ParseTarget(true);
    if (loops_ > 0) ForbidLoop(*made->target);
    if (SkipOperator("=")) {
      made->values.push_back(ParseTuple());
      return made;
    }
    made->kind = Kind::kSetBlock;
    made->filter = ParseFilters(nullptr, false);
    ParseBody({"endset"}, made->body.statements);
    return made;
  }

  void ParseSignature(Signature& signature) {
    ExpectOperator("(");
    while (!Current().IsOperator(")")) {
      if (!signature.names.empty()) ExpectOperator(",");
      const int name = Name(ExpectName());
      if (std::ranges::find(signature.names, name) != signature.names.end()) {
        FailHere("two parameters have the same name");
      }
      signature.names.push_back(name);
      if (SkipOperator("=")) {
        signature.defaults.push_back(ParseExpression());
      } else if (!signature.defaults.empty()) {
        FailHere("a parameter without a default follows one with a default");
      }
    }
    ExpectOperator(")");
  }

  // The body of a macro or call block: a place of its own for break and continue.
  void ParseMacroBody(Statement* made, std::string_view end) {
    signatures_.push_back(&made->signature);
    const int jumps = std::exchange(jumps_, 0);
    ParseBody({end}, made->body.statements);
    jumps_ = jumps;
    signatures_.pop_back();
  }

  Statement* ParseMacro() {
    Statement* made = Make(Kind::kMacro);
    Skip();
    made->text = ExpectName();
    made->name = Name(made->text);
    ParseSignature(made->signature);
    ParseMacroBody(made, "endmacro");
    return made;
  }

  Statement* ParseCallBlock() {
    Statement* made = Make(Kind::kCall);
    Skip();
    if (Current().IsOperator("(")) ParseSignature(made->signature);
    made->values.push_back(ParseExpression());
    if (made->values[0]->kind != Expression::Kind::kCall) FailHere("expected a call");
    ParseMacroBody(made, "endcall");
    return made;
  }

  Statement* ParseFilterBlock() {
    Statement* made = Make(Kind::kFilter);
    Skip();
    made->filter = ParseFilters(nullptr, true);
    ParseBody({"endfilter"}, made->body.statements);
    return made;
  }

  Statement* ParseWith() {
    Statement* made = Make(Kind::kWith);
    Skip();
    while (Current().kind != Token::Kind::kBlockEnd) {
      if (!made->targets.empty()) ExpectOperator(",");
      made->targets.push_back(ParseTarget(false));
      ExpectOperator("=");
      made->values.push_back(ParseExpression());
    }
    ParseBody({"endwith"}, made->body.statements);
    return made;
  }

  Statement* ParsePrint() {
    Statement* made = Make(Kind::kPrint);
    Skip();
    while (Current().kind != Token::Kind::kBlockEnd) {
      if (!made->values.empty()) ExpectOperator(",");
      made->values.push_back(ParseExpression());
    }
    return made;
  }

  Statement* ParseJump() {
    if (jumps_ == 0) FailHere(fmt::format("'{}' outside a loop", Current().text));
    Statement* made = Make(Current().IsName("break") ? Kind::kBreak : Kind::kContinue);
    Skip();
    return made;
  }

  Statement* ParseGeneration() {
    Statement* made = Make(Kind::kScope);
    Skip();
    ParseMacroBody(made, "endgeneration");
    return made;
  }

  int jumps_ = 0;  // loops that break and continue may act on
};

}  // namespace

std::unique_ptr<const Template> Parse(std::string_view source, Heap& heap) {
  auto parsed = std::make_unique<Template>();
  Parser(source, heap, *parsed).Run();
  ResolveScopes(*parsed);
  return parsed;
}

}  // namespace halftone::jinja
