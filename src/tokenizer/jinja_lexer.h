// A template's source to tokens, with trim_blocks and lstrip_blocks on.
//
// The rules are those of jinja2's lexer: one newline after a block tag or comment goes, and so do
// blanks before one at the beginning of a line; "-" beside a delimiter takes all white space on its
// side away, "+" keeps it; one newline at the very end of the source goes; \r\n and \r are \n.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace halftone::jinja {

struct Token {
  enum class Kind {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };

  Kind kind;
  int line;
  std::string text;  // as written; of a string its value
  int64_t integer = 0;
  double real = 0;

  bool IsName(std::string_view name) const { return kind == Kind::kName && text == name; }
  bool IsOperator(std::string_view op) const { return kind == Kind::kOperator && text == op; }
};

// The last token is kEnd. Throws Error (kFormat) with the line.
std::vector<Token> Tokenize(std::string_view source);

// Throws Error: "chat template, line N: message".
[[noreturn]] void FailSyntax(int line, std::string_view message);

}  // namespace halftone::jinja
