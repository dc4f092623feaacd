#include "cli/console.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/terminal.h"
#include "halftone/error.h"

namespace halftone::cli {

Console::Console()
    : out_terminal_(IsTerminal(STDOUT_FILENO)),
      out_colour_(HasColour(STDOUT_FILENO)),
      error_colour_(HasColour(STDERR_FILENO)) {}

void Console::Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Console::Print(const Table& table) {
  Print(table.Render(out_terminal_ ? TerminalColumns(STDOUT_FILENO) : 0, out_colour_));
}

void Console::PrintJson(const Json& value) {
  // Names in a broken file need not be UTF-8; JSON must be.
  Print(value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string Console::Bold(std::string_view text) const {
  return out_colour_ ? fmt::format("\033[1m{}\033[0m", text) : std::string(text);
}

void Console::Say(std::string_view line) {
  std::fflush(stdout);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

std::string Console::Dim(std::string_view text) const {
  return error_colour_ ? fmt::format("\033[2m{}\033[0m", text) : std::string(text);
}

void Console::Flush() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw Error(Error::Kind::kIo,
                fmt::format("cannot write to standard output{}{}", errno != 0 ? ": " : "",
                            errno != 0 ? std::strerror(errno) : ""));
  }
}

}  // namespace halftone::cli
