// What the program says about itself, and about a command line that it does not understand: help
// and data on stdout, everything else on stderr, exit code 0 for done, 1 for failed, 2 for wrong
// usage.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/cli/program.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;

constexpr size_t kWidest = 80;  // columns of a help text

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The commands that `halftone --help` lists.
std::vector<std::string> Commands() {
  std::vector<std::string> commands;
  bool listing = false;
  for (const std::string& line : Lines(Halftone({"--help"}).out)) {
    if (listing && line.empty()) break;
    if (listing) commands.push_back(line.substr(2, line.find(' ', 2) - 2));
    if (line == "Subcommands:" || line == "Commands:") listing = true;
  }
  EXPECT_GE(commands.size(), 11u);
  return commands;
}

// The command lines below "Example:" or "Examples:", lines that end in \ put together.
std::vector<std::string> Examples(const std::string& help) {
  std::vector<std::string> examples;
  bool listing = false, more = false;
  for (std::string line : Lines(help)) {
    if (listing && !line.starts_with("  ")) break;
    if (line == "Example:" || line == "Examples:") {
      listing = true;
      continue;
    }
    if (!listing) continue;
    const bool continues = line.ends_with('\\');
    if (continues) line.pop_back();
    if (more) {
      examples.back() += line;
    } else {
      examples.push_back(line);
    }
    more = continues;
  }
  return examples;
}

// One line that begins as messages do.
testing::Matcher<std::string> Message(const std::string& part) {
  return AllOf(StartsWith("halftone: error: "), HasSubstr(part), MatchesRegex("[^\n]*\n"));
}

void ExpectWrongUsage(const std::vector<std::string>& arguments, const std::string& part) {
  const Finished run = Halftone(arguments);
  EXPECT_EQ(run.code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, Message(part));
}

TEST(HelpTest, EveryCommandExplainsItself) {
  for (const std::string& command : Commands()) {
    SCOPED_TRACE(command);
    for (const char* flag : {"--help", "-h"}) {
      const Finished run = Halftone({command, flag});
      EXPECT_EQ(run.code, 0);
      EXPECT_EQ(run.err, "");
      EXPECT_THAT(run.out, HasSubstr("Usage: halftone " + command));
      EXPECT_THAT(run.out, HasSubstr("--json"));
      const auto examples = Examples(run.out);
      ASSERT_THAT(examples, Not(IsEmpty()));
      for (const std::string& example : examples) {
        EXPECT_THAT(example, StartsWith("  halftone " + command));
      }
      for (const std::string& line : Lines(run.out)) EXPECT_LE(line.size(), kWidest) << line;
    }
  }
}

// The examples are command lines that parse: since no model is there they fail, but not for wrong
// usage. A shell runs them.
TEST(HelpTest, ExamplesAreRightUsage) {
  std::vector<std::string> examples = Examples(Halftone({"--help"}).out);
  for (const std::string& command : Commands()) {
    for (const auto& example : Examples(Halftone({command, "--help"}).out)) {
      examples.push_back(example);
    }
  }
  const TempFolder folder;
  folder.Write("model.gguf", "");
  folder.Write("book.txt", "");
  for (const std::string& example : examples) {
    SCOPED_TRACE(example);
    ASSERT_THAT(example, StartsWith("  halftone "));
    // No test asks the real hub.
    const std::string command = "cd '" + folder.path().string() +
                                "' && HF_HUB_OFFLINE=1 HF_HUB_CACHE=. '" + ProgramPath() + "' " +
                                example.substr(11) + " > out 2> err";
    const int status = std::system(command.c_str());
    ASSERT_TRUE(WIFEXITED(status));
    const std::string err = ReadBytes(folder.path() / "err");
    EXPECT_LE(WEXITSTATUS(status), 1) << err;
    if (WEXITSTATUS(status) == 1) {
      EXPECT_THAT(err, Message(""));
      EXPECT_EQ(ReadBytes(folder.path() / "out"), "");
    }
  }
}

TEST(HelpTest, ProgramExplainsItself) {
  const Finished help = Halftone({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  EXPECT_THAT(help.out, HasSubstr("Usage: halftone"));
  EXPECT_THAT(Examples(help.out), ElementsAre(StartsWith("  halftone compare ")));

  const Finished nothing = Halftone({});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_EQ(nothing.out, "");
  EXPECT_EQ(nothing.err, help.out);
}

TEST(HelpTest, TellsTheVersion) {
  const Finished flag = Halftone({"--version"});
  EXPECT_EQ(flag.code, 0);
  EXPECT_EQ(flag.err, "");
  EXPECT_THAT(flag.out, MatchesRegex("halftone [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  const Finished command = Halftone({"version"});
  EXPECT_EQ(command.code, 0);
  EXPECT_EQ(command.err, "");
  EXPECT_THAT(command.out, StartsWith(flag.out));
}

TEST(UsageTest, NamesWhatIsWrong) {
  ExpectWrongUsage({"frobnicate"}, "there is no command 'frobnicate'; there are: quantize, run,");
  ExpectWrongUsage({"quantise", "m.gguf"}, "did you mean 'quantize'?");
  ExpectWrongUsage({"--frobnicate"}, "--frobnicate");
  ExpectWrongUsage({"inspect"}, "MODEL");
  ExpectWrongUsage({"inspect", "a.gguf", "b.gguf"}, "b.gguf");
  ExpectWrongUsage({"inspect", "a.gguf", "--npy", "a.npy"}, "--tensor");
  ExpectWrongUsage({"quantize", "a.gguf", "-o", "b.gguf"}, "--grid");
  ExpectWrongUsage({"quantize", "a.gguf", "--grid", "q8_0"}, "--dry-run");
  ExpectWrongUsage({"quantize", "a.gguf", "--gird", "q8_0"}, "--gird");
  ExpectWrongUsage({"quantize", "a.gguf", "-o"}, "--output");
  ExpectWrongUsage({"imatrix", "a.gguf", "-o", "b.gguf"}, "--text");
  ExpectWrongUsage({"evaluate", "a.gguf"}, "give --text FILE, or --tokens and --npy");
  ExpectWrongUsage({"evaluate", "a.gguf", "--tokens", "1,2"}, "--npy");
  ExpectWrongUsage({"evaluate", "a.gguf", "--reference", "b.gguf"}, "--text");
  ExpectWrongUsage({"evaluate", "a.gguf", "--text", "t", "--tokens", "1", "--npy", "n"},
                   "excludes");
  ExpectWrongUsage({"run", "a.gguf", "--json"}, "--json needs -p TEXT");
  ExpectWrongUsage({"plan", "seven"}, "seven");
  ExpectWrongUsage({"plan", "7B", "--memory", "much"}, "'much' is no amount of memory");
}

TEST(UsageTest, ChecksNumbers) {
  ExpectWrongUsage({"bench", "a.gguf", "--threads", "-1"}, "--threads");
  ExpectWrongUsage({"bench", "a.gguf", "--threads", "two"}, "--threads");
  ExpectWrongUsage({"bench", "a.gguf", "--threads", "4294967297"}, "--threads");
  ExpectWrongUsage({"bench", "a.gguf", "-p", "0"}, "--prompt");
  ExpectWrongUsage({"evaluate", "a.gguf", "--text", "t", "--context", "0"}, "--context");
  ExpectWrongUsage({"evaluate", "a.gguf", "--npy", "n", "--tokens", "1,x"}, "--tokens");
  ExpectWrongUsage({"run", "a.gguf", "-p", "x", "--temp", "-1"}, "--temp");
  ExpectWrongUsage({"run", "a.gguf", "-p", "x", "--temp", "nan"}, "--temp");
  ExpectWrongUsage({"run", "a.gguf", "-p", "x", "--top-p", "1.5"}, "--top-p");
  ExpectWrongUsage({"run", "a.gguf", "-p", "x", "--seed", "-1"}, "--seed");
}

// A name that reaches a terminal cannot steer it.
TEST(UsageTest, MessagesHoldNoControlCharacters) {
  for (const std::string command : {"\033[2J", "a\nb"}) {
    const Finished run = Halftone({command});
    EXPECT_EQ(run.code, 2);
    EXPECT_EQ(run.err.find('\033'), std::string::npos);
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1);
  }
  const Finished run = Halftone({"inspect", "no\033[31m\nfile"});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.err.find('\033'), std::string::npos);
  EXPECT_EQ(std::ranges::count(run.err, '\n'), 1);
}

// A full disk behind stdout is a failure, not silence.
TEST(UsageTest, SeesThatStdoutCannotBeWritten) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  const TempFolder folder;
  for (const std::string command : {"version", "version --json", "--help", "plan 7B"}) {
    const std::string line = "'" + ProgramPath() + "' " + command + " > /dev/full 2> '" +
                             (folder.path() / "err").string() + "'";
    const int status = std::system(line.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << command;
    EXPECT_THAT(ReadBytes(folder.path() / "err"), Message("cannot write to standard output"));
  }
}

}  // namespace
}  // namespace halftone
