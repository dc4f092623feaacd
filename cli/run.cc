// halftone run: a continuation as it is generated, or a conversation.

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"
#include "halftone/model.h"

namespace halftone::cli {
namespace {

// Without the control characters that a model's vocabulary may hold, so that no model steers the
// terminal; line ends and tabs stay.
std::string Harmless(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
  });
  return out;
}

class RunCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_path_);
    prompt_option_ =
        app.add_option("-p,--prompt", prompt_, "Text to continue; without it an interactive chat")
            ->option_text("TEXT");
    app.add_option("-n,--tokens", max_tokens_, "Tokens to generate at most")
        ->option_text("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_flag("--chat", chat_, "Put the prompt into the model's chat template");
    app.add_option("--system", system_, "System message of a chat");
    app.add_option("--temp", sampling_.temperature, "Temperature; 0: always the likeliest token")
        ->option_text("N")
        ->check(Between(0, 100))
        ->capture_default_str();
    app.add_option("--top-k", sampling_.top_k, "Among the k likeliest; 0: off")
        ->option_text("N")
        ->check(CLI::Range(0, 1 << 30))
        ->capture_default_str();
    app.add_option("--top-p", sampling_.top_p, "Among the likeliest that sum to p; 1: off")
        ->option_text("N")
        ->check(Between(0, 1))
        ->capture_default_str();
    app.add_option("--min-p", sampling_.min_p, "At least p times the likeliest; 0: off")
        ->option_text("N")
        ->check(Between(0, 1))
        ->capture_default_str();
    app.add_option("--seed", sampling_.seed, "The same seed gives the same text")
        // Converting -1 would give 2^64 - 1 without a word.
        ->check([](const std::string& text) {
          return text.starts_with('-') ? text + " is negative" : std::string();
        })
        ->option_text("N")
        ->capture_default_str();
    AddAdapter(app, load_.adapter, "A LoRA adapter beside the weights: peft's folder or a .gguf");
    AddPrecision(app, load_.precision);
    AddActivations(app, load_.activations);
    AddKvGrid(app, load_.kv_grid);
    AddThreads(app, load_.threads);
    app.add_option("--context", load_.context, "Tokens of memory; 0: the model's own, at most 4096")
        ->option_text("N")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
        ->capture_default_str();
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone run model.gguf -p 'Once upon a time' -n 64 --temp 0\n"
           "  halftone run model.gguf\n\n" +
           HelpParagraph(
               "Ctrl-C ends a generation, a second one the program. In a chat, /reset begins "
               "anew and /exit or Ctrl-D ends; a line that ends in \\ goes on in the next.") +
           "\n" +
           HelpParagraph(
               "JSON (with -p): text, stop, prompt_tokens, tokens, prompt_tps, generation_tps");
  }

  void Run(Console& console) override {
    const bool interactive = prompt_option_->count() == 0;
    if (interactive && console.json) throw Error(Error::Kind::kUsage, "--json needs -p TEXT");
    if (!system_.empty() && !interactive && !chat_) {
      throw Error(Error::Kind::kUsage, "--system needs a chat: add --chat, or leave -p away");
    }
    model_ = Model::Open(FindModel(console, model_path_), load_);
    if (interactive) {
      Chat(console);
    } else {
      Continue(console);
    }
  }

 private:
  void Continue(Console& console) {
    std::vector<int32_t> tokens =
        chat_ ? TemplateTokens(Conversation({{"user", prompt_}})) : model_->Tokenize(prompt_);
    const Generation made = Generate(console, tokens);
    if (console.json) {
      console.PrintJson({{"text", made.text},
                         {"stop", made.stop},
                         {"prompt_tokens", made.prompt_tokens},
                         {"tokens", made.tokens},
                         {"prompt_tps", Rate(made.prompt_tokens, made.prompt_seconds)},
                         {"generation_tps", Rate(made.tokens, made.seconds)}});
      return;
    }
    console.Print("\n");
    SayFigures(console, made);
  }

  void Chat(Console& console) {
    const bool terminal = IsTerminal(STDIN_FILENO);
    if (terminal) {
      console.Say(console.Dim(fmt::format("{}, context {}. /reset, /exit, Ctrl-C to stop.",
                                          model_->architecture(), model_->context())));
    }
    std::vector<ChatMessage> messages = Conversation({});
    const size_t opening = messages.size();
    std::string line;
    while (ReadTurn(console, terminal, line)) {
      if (line == "/exit" || line == "/quit") break;
      if (line == "/reset") {
        messages.resize(opening);
        if (terminal) console.Say(console.Dim("forgotten"));
        continue;
      }
      if (terminal && IsCommand(line)) {
        console.Say(console.Dim("there are: /reset to begin anew, /exit to end"));
        continue;
      }
      if (line.find_first_not_of(" \t") == line.npos) continue;
      messages.push_back({"user", line});
      const std::vector<int32_t> tokens = FittingTokens(console, messages, opening);
      const Generation made = Generate(console, tokens);
      console.Print("\n");
      console.Flush();
      if (terminal) SayFigures(console, made);
      messages.push_back({"assistant", made.text});
      ClearInterrupt();
    }
    if (terminal) console.Say("");
  }

  // "/help", but not "/etc/hosts?".
  static bool IsCommand(const std::string& line) {
    return line.size() > 1 && line[0] == '/' &&
           std::ranges::all_of(line.substr(1), [](unsigned char c) { return std::islower(c); });
  }

  // One message; false at the end of input or after Ctrl-C.
  static bool ReadTurn(Console& console, bool terminal, std::string& text) {
    text.clear();
    for (bool more = true; more;) {
      if (terminal) {
        std::fputs(text.empty() ? console.Dim("> ").c_str() : console.Dim(". ").c_str(), stderr);
        // A terminal gives a line at a time, so that none is left in the buffer.
        if (!WaitForInput(STDIN_FILENO)) return false;
      }
      std::string line;
      if (!std::getline(std::cin, line) || Interrupted()) return false;
      more = line.ends_with('\\');
      if (more) line.back() = '\n';
      text += line;
    }
    return true;
  }

  std::vector<ChatMessage> Conversation(std::vector<ChatMessage> messages) const {
    if (!system_.empty()) messages.insert(messages.begin(), {"system", system_});
    return messages;
  }

  // The conversation as tokens. Where both the template and the tokenizer begin the text with the
  // same token, one of the two is dropped.
  std::vector<int32_t> TemplateTokens(const std::vector<ChatMessage>& messages) const {
    std::vector<int32_t> tokens = model_->Tokenize(model_->ApplyChatTemplate(messages));
    const std::vector<int32_t> begin = model_->Tokenize("");
    if (!begin.empty() && tokens.size() > 1 && tokens[0] == begin[0] && tokens[1] == begin[0]) {
      tokens.erase(tokens.begin());
    }
    return tokens;
  }

  // Drops the oldest turns while the conversation leaves no room for an answer.
  std::vector<int32_t> FittingTokens(Console& console, std::vector<ChatMessage>& messages,
                                     size_t opening) const {
    std::vector<int32_t> tokens = TemplateTokens(messages);
    const int64_t room = std::min<int64_t>(max_tokens_, model_->context() / 4);
    bool dropped = false;
    while (static_cast<int64_t>(tokens.size()) + room > model_->context() &&
           messages.size() >= opening + 3) {
      messages.erase(messages.begin() + static_cast<int64_t>(opening),
                     messages.begin() + static_cast<int64_t>(opening) + 2);
      tokens = TemplateTokens(messages);
      dropped = true;
    }
    if (dropped) console.Say("halftone: note: the context is full, the oldest turns are forgotten");
    return tokens;
  }

  Generation Generate(Console& console, const std::vector<int32_t>& tokens) {
    const bool terminal = IsTerminal(STDOUT_FILENO);
    return model_->Generate(tokens, max_tokens_, sampling_, [&](std::string_view text) {
      if (!console.json) {
        console.Print(terminal ? Harmless(text) : std::string(text));
        console.Flush();
      }
      return !Interrupted();
    });
  }

  static double Rate(int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  }

  static void SayFigures(Console& console, const Generation& made) {
    console.Say(console.Dim(
        fmt::format("prompt {} tokens, {:.1f} tokens/s; generated {}, {:.1f} tokens/s ({})",
                    made.prompt_tokens, Rate(made.prompt_tokens, made.prompt_seconds), made.tokens,
                    Rate(made.tokens, made.seconds), made.stop)));
  }

  std::string model_path_, prompt_, system_;
  CLI::Option* prompt_option_ = nullptr;
  int64_t max_tokens_ = 256;
  bool chat_ = false;
  SamplingOptions sampling_;
  LoadOptions load_;
  std::unique_ptr<Model> model_;
};

}  // namespace

std::unique_ptr<Command> MakeRun() { return std::make_unique<RunCommand>(); }

}  // namespace halftone::cli
