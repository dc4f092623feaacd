// halftone tokenize: text to token ids.

#include <unistd.h>

#include <cstdio>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"
#include "halftone/model.h"

namespace halftone::cli {
namespace {

std::string ReadStandardInput() {
  std::string text;
  char buffer[1 << 16];
  size_t got;
  while ((got = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) text.append(buffer, got);
  if (std::ferror(stdin)) throw Error(Error::Kind::kIo, "cannot read standard input");
  return text;
}

class TokenizeCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    text_option_ = app.add_option("--text", text_, "The text itself; without it standard input")
                       ->option_text("TEXT");
    app.add_flag("--no-special", plain_,
                 "Take the names of control tokens as text, and add no beginning of text");
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone tokenize model.gguf --text 'Hello, world'\n"
           "  halftone tokenize model.gguf --no-special < book.txt\n\n" +
           HelpParagraph("Prints a JSON list of ids, with --json and without.");
  }

  void Run(Console& console) override {
    if (text_option_->count() == 0) {
      if (IsTerminal(STDIN_FILENO)) {
        console.Say("type the text, then Ctrl-D at the beginning of a line");
      }
      text_ = ReadStandardInput();
    }
    console.Print(fmt::format(
        "[{}]\n", fmt::join(Tokenize(FindModel(console, model_), text_, !plain_), ", ")));
  }

 private:
  std::string model_, text_;
  CLI::Option* text_option_ = nullptr;
  bool plain_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeTokenize() { return std::make_unique<TokenizeCommand>(); }

}  // namespace halftone::cli
