// What a person sees who sits at a terminal: a progress bar that keeps within one line and goes
// away, colour only where it is wanted, a chat that can be interrupted.

#include "tests/cli/terminal.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class TerminalTest : public TinyModelTest {
 protected:
  // Work of some seconds, and its progress.
  std::vector<std::string> LongWork() const {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    constexpr int kCharacters = 100'000;  // everything takes ten times as long
#else
    constexpr int kCharacters = 1'000'000;
#endif
    const std::string text = Write("long.txt", TinyText(kCharacters));
    return {"imatrix",      model_,      "--text", text,        "-o",
            Path("i.gguf"), "--context", "64",     "--threads", "1"};
  }

  // Watches the work until this was shown for the second time, then stops it.
  Finished RunLongWork(const TerminalOptions& options, const std::string& shown = " %") const {
    Terminal terminal(LongWork(), options);
    terminal.WaitFor(shown);
    terminal.WaitFor(shown);
    terminal.Type("\x03");
    return terminal.Wait();
  }
};

TEST_F(TerminalTest, ShowsProgressInOneLine) {
  for (const int columns : {20, 40, 80, 200}) {
    SCOPED_TRACE(columns);
    const Finished run = RunLongWork({.columns = columns, .environment = {}});
    EXPECT_EQ(run.signal, SIGINT);
    EXPECT_FALSE(Exists("i.gguf"));
    const auto lines = DrawnLines(run.out);
    int drawn = 0;
    for (const std::string& line : lines) {
      if (line.find(" %") == std::string::npos) continue;
      ++drawn;
      EXPECT_LE(Columns(line), columns) << line;  // with the ^C that the terminal shows
      static const std::map<int, const char*> kForms = {
          {20, "calibrate +[0-9]+ %"},
          {40, "calibra(te|…) +[0-9]+ %  [0-9.kM]+/s  [0-9.:]+( s)? left"},
          {80, "calibrate  [^ ]+  +[0-9]+ %  [0-9.kM]+/s  [0-9.:]+( s)? left"},
          {200, "calibrate  [^ ]+  +[0-9]+ %  [0-9.kM]+/s  [0-9.:]+( s)? left"}};
      // While nothing is done nothing is foretold.
      static constexpr char kNothingYet[] = "calib[a-z]*…?(  [^ ]+)? +0 %  [0-9.:]+( s)?";
      ASSERT_THAT(line,
                  MatchesRegex(fmt::format("({}|{})(\\^C)?", kForms.at(columns), kNothingYet)));
    }
    EXPECT_GE(drawn, 2);
    // The bar is gone before the message comes.
    EXPECT_THAT(run.out, HasSubstr("\r\033[Khalftone: error: "));
  }
}

TEST_F(TerminalTest, ColoursOnlyWhereWanted) {
  EXPECT_THAT(RunLongWork({}).out, HasSubstr("\033[36m"));
  const Finished plain = RunLongWork({.columns = 80, .environment = {{"NO_COLOR", "1"}}});
  EXPECT_THAT(plain.out, AllOf(HasSubstr("░"), Not(HasSubstr("\033[3"))));
  const Finished ascii = RunLongWork({.columns = 80, .environment = {{"LC_ALL", "C"}}});
  EXPECT_THAT(ascii.out, AllOf(HasSubstr(".."), Not(HasSubstr("░"))));
  EXPECT_THAT(Terminal({"version"}).Wait().out, HasSubstr("\033[1mhalftone"));
  for (const auto& environment : {std::map<std::string, std::string>{{"NO_COLOR", "1"}},
                                  {{"TERM", "dumb"}},
                                  {{"TERM", ""}}}) {
    const Finished run = Terminal({"version"}, {.columns = 80, .environment = environment}).Wait();
    EXPECT_THAT(run.out, Not(HasSubstr("\033")));
  }
}

// A dumb terminal cannot redraw a line; it gets lines as a file does.
TEST_F(TerminalTest, PrintsLinesOnADumbTerminal) {
  const Finished run = RunLongWork({.columns = 80, .environment = {{"TERM", "dumb"}}}, "a");
  EXPECT_THAT(run.out, AllOf(HasSubstr("halftone: calibrate: "), Not(HasSubstr("\033"))));
}

TEST_F(TerminalTest, TablesKeepWithinTheTerminal) {
  using Command = std::vector<std::string>;
  for (const Command& command :
       {Command{"inspect", model_}, Command{"plan", model_},
        Command{"quantize", model_, "--grid", "q4_0", "--all", "-o", Path("q.gguf")}}) {
    for (const int columns : {60, 80, 200}) {
      SCOPED_TRACE(command[0] + ", columns " + std::to_string(columns));
      const Finished run = Terminal(command, {.columns = columns, .environment = {}}).Wait();
      EXPECT_EQ(run.code, 0);
      int rows = 0;
      for (const std::string& line : DrawnLines(run.out)) {
        // Sentences, and those with the file's name, may be longer.
        if (line.find("  ") == std::string::npos) continue;
        ++rows;
        EXPECT_LE(Columns(line), columns) << line;
      }
      EXPECT_GT(rows, 10);
    }
  }
  // What is there matters more than what it is set to; and the last figures go first.
  const Finished inspect = Terminal({"inspect", model_}, {.columns = 60, .environment = {}}).Wait();
  EXPECT_THAT(inspect.out, AllOf(HasSubstr("tokenizer.ggml.token_type "), HasSubstr("…")));
  const Finished plan = Terminal({"plan", model_}, {.columns = 70, .environment = {}}).Wait();
  EXPECT_THAT(plan.out, AllOf(HasSubstr(" KV cache "), Not(HasSubstr("activations"))));
}

// ---- Chat ----

TEST_F(TerminalTest, ChatsAndEnds) {
  Terminal terminal({"run", model_, "-n", "8", "--temp", "0"});
  terminal.WaitFor("/exit");
  terminal.WaitFor("> ");
  terminal.Type("the wing\n");
  terminal.WaitFor("tokens/s (");
  terminal.WaitFor("> ");
  terminal.Type("/exit\n");
  const Finished run = terminal.Wait();
  EXPECT_EQ(run.code, 0);
}

TEST_F(TerminalTest, EndOfInputEndsTheChat) {
  Terminal terminal({"run", model_});
  terminal.WaitFor("> ");
  terminal.Type("\x04");  // Ctrl-D
  EXPECT_EQ(terminal.Wait().code, 0);
}

// The first Ctrl-C ends the answer, the chat goes on; at the prompt it ends the program.
TEST_F(TerminalTest, CtrlCEndsTheAnswerThenTheChat) {
  Terminal terminal({"run", model_, "-n", "1000000", "--context", "1000000", "--temp", "0"});
  terminal.WaitFor("> ");
  terminal.Type("the\n");
  ::usleep(300'000);
  terminal.Type("\x03");
  terminal.WaitFor("(stopped)");
  terminal.WaitFor("> ");
  terminal.Type("\x03");
  EXPECT_EQ(terminal.Wait().signal, SIGINT);
}

// Control characters of a model's vocabulary do not reach the terminal.
TEST_F(TerminalTest, ModelsCannotSteerTheTerminal) {
  Terminal terminal({"run", model_, "-p", "the", "-n", "400", "--temp", "100", "--top-k", "0",
                     "--top-p", "1", "--min-p", "0"},
                    {.columns = 80, .environment = {{"NO_COLOR", "1"}}});
  const Finished run = terminal.Wait();
  EXPECT_EQ(run.code, 0);
  for (const char c : run.out) {
    const auto byte = static_cast<unsigned char>(c);
    EXPECT_TRUE(byte >= 0x20 || c == '\n' || c == '\t') << static_cast<int>(byte);
  }
}

}  // namespace
}  // namespace halftone
