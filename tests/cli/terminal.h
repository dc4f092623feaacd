// The program on a terminal: a pseudo-terminal on whose other side the test types and reads.

#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cli/program.h"

namespace halftone {

struct TerminalOptions {
  int columns = 80;
  std::map<std::string, std::string> environment;  // beside the test's own; "" removes
};

class Terminal {
 public:
  // Starts `halftone <arguments>` with all three streams on the terminal, in a session of its own,
  // so that what is typed can interrupt it.
  explicit Terminal(const std::vector<std::string>& arguments,
                    const TerminalOptions& options = {}) {
    std::map<std::string, std::string> environment = {
        {"TERM", "xterm-256color"}, {"LC_ALL", "C.UTF-8"}, {"NO_COLOR", ""}};
    for (const auto& [name, value] : options.environment) environment[name] = value;
    Arguments program(arguments, environment);
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_TRUE(master_ >= 0 && ::grantpt(master_) == 0 && ::unlockpt(master_) == 0);
    winsize size{};
    size.ws_row = 24;
    size.ws_col = static_cast<unsigned short>(options.columns);
    EXPECT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
    const std::string name = ::ptsname(master_);
    // Open here as well, or reading fails until the child has opened its side.
    slave_ = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    child_ = ::fork();
    if (child_ == 0) {
      ::setsid();
      const int terminal = ::open(name.c_str(), O_RDWR);
      ::ioctl(terminal, TIOCSCTTY, 0);
      for (int fd = 0; fd < 3; ++fd) ::dup2(terminal, fd);
      program.Exec();
    }
  }
  ~Terminal() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(slave_);
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void Type(std::string_view text) const {
    EXPECT_EQ(::write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  // Reads until the text has come after what was waited for before.
  void WaitFor(const std::string& text, double seconds = 60) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    size_t at;
    while ((at = screen_.find(text, waited_)) == std::string::npos) {
      if (Clock::now() > end) {
        ADD_FAILURE() << "waited in vain for " << testing::PrintToString(text) << " after "
                      << testing::PrintToString(screen_.substr(waited_));
        return;
      }
      Read();
    }
    waited_ = at + text.size();
  }

  // Waits for the program's end; `out` is all that came to the terminal, with \n for \r\n.
  Finished Wait(double timeout = 60) {
    Finished finished = Await(child_, timeout, [this](pid_t) { Read(); });
    child_ = -1;
    while (Read()) {
    }
    for (size_t i = 0; i < screen_.size(); ++i) {
      if (screen_.compare(i, 2, "\r\n") != 0) finished.out += screen_[i];
    }
    return finished;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Takes what is there, waiting a little for it; whether anything was.
  bool Read() {
    pollfd ready{master_, POLLIN, 0};
    if (::poll(&ready, 1, 5) <= 0) return false;
    char buffer[4096];
    const ssize_t got = ::read(master_, buffer, sizeof buffer);
    if (got > 0) screen_.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }

  int master_ = -1, slave_ = -1;
  pid_t child_ = -1;
  std::string screen_;
  size_t waited_ = 0;
};

// The text that escape codes and carriage returns leave, line by line as they were drawn: each
// redrawing of a line is a line.
inline std::vector<std::string> DrawnLines(const std::string& out) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\033' && i + 1 < out.size() && out[i + 1] == '[') {
      for (i += 2; i < out.size() && !std::isalpha(static_cast<unsigned char>(out[i]));) ++i;
    } else if (out[i] == '\n' || out[i] == '\r') {
      lines.emplace_back();
    } else {
      lines.back() += out[i];
    }
  }
  return lines;
}

// Columns of a line without escape codes: one for each code point.
inline int Columns(const std::string& line) {
  int columns = 0;
  for (const char c : line) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return columns;
}

}  // namespace halftone
