// The program: finds the command, parses its options, runs it, and turns every way in which that
// can end into an exit code: 0 done, 1 failed, 2 wrong usage. After an interrupt it cleans up, then
// ends by the signal.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "halftone/error.h"
#include "halftone/support.h"

namespace halftone::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

struct Entry {
  const char* name;
  const char* summary;
  std::function<std::unique_ptr<Command>()> make;
};

const std::vector<Entry>& Commands() {
  static const std::vector<Entry> commands = {
#define HT_COMMAND(name, Type, summary) {#name, summary, Make##Type},
#include "cli/commands.def"
#undef HT_COMMAND
  };
  return commands;
}

int Fail(int code, const std::string& message) {
  std::fflush(stdout);
  if (BrokenPipe()) return code;
  std::string line = message;
  std::ranges::replace(line, '\n', ' ');
  line = Printable(line);
  std::fprintf(stderr, "halftone: error: %s\n", line.c_str());
  return code;
}

// CLI11 reports an unknown command as a surplus argument.
void CheckCommandName(int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const Entry& entry : Commands()) names.emplace_back(entry.name);
  if (std::ranges::find(names, argv[1]) == names.end()) {
    throw Error(Error::Kind::kUsage, NoSuch("command", argv[1], names));
  }
}

int Main(int argc, char** argv) {
  Console console;
  CLI::App app(
      "Halftone puts the weights of language models onto few levels, runs what comes\n"
      "out and shows what it cost.",
      "halftone");
  app.set_version_flag("--version", "halftone " + Version());
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  app.footer(
      "Example:\n  halftone compare model.gguf --text evaluation.txt -o report\n\n"
      "halftone COMMAND --help explains a command.");

  std::vector<std::unique_ptr<Command>> commands;
  Command* chosen = nullptr;
  for (const Entry& entry : Commands()) {
    commands.push_back(entry.make());
    Command* command = commands.back().get();
    CLI::App* sub = app.add_subcommand(entry.name, entry.summary);
    command->Declare(*sub);
    sub->add_flag("--json", console.json, "Print JSON for machines instead of text");
    sub->footer("");  // not the program's own, which it would inherit
    sub->footer([command] { return command->Footer(); });
    sub->callback([command, &chosen] { chosen = command; });
  }

  try {
    if (argc < 2) {
      std::fputs(app.help().c_str(), stderr);
      return kWrongUsage;
    }
    CheckCommandName(argc, argv);
    app.parse(argc, argv);
    WatchInterrupts();
    chosen->Run(console);
    console.Flush();
    return kDone;
  } catch (const CLI::CallForHelp&) {
    console.Print(app.help());
  } catch (const CLI::CallForVersion& version) {
    console.Print(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) {
    return Fail(kWrongUsage, UsageMessage(app, error, argc, argv));
  } catch (const Error& error) {
    console.Abandon();
    return Fail(error.kind() == Error::Kind::kUsage ? kWrongUsage : kFailed, error.what());
  } catch (const std::bad_alloc&) {
    console.Abandon();
    return Fail(kFailed, "there is not enough memory");
  } catch (const std::exception& error) {
    console.Abandon();
    return Fail(kFailed, error.what());
  }
  try {
    console.Flush();
  } catch (const Error& error) {
    return Fail(kFailed, error.what());
  }
  return kDone;
}

}  // namespace
}  // namespace halftone::cli

int main(int argc, char** argv) {
  const int code = halftone::cli::Main(argc, argv);
  halftone::cli::EndIfInterrupted();
  return code;
}
