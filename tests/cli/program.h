// Running the built program as a user does: what it prints on which stream and how it ends.

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing/paths.h"

namespace halftone {

struct Finished {
  int code = -1;            // the exit code, or -1 if a signal ended it
  int signal = 0;           // the signal that ended it, or 0
  double cpu_seconds = 0;   // of all threads; wall time tells how busy the machine is
  uint64_t peak_bytes = 0;  // held in memory, mapped pages of files included
  std::string out;
  std::string err;
};

struct RunOptions {
  std::string input;                               // what stdin holds
  std::string folder;                              // where it runs; "": here
  std::map<std::string, std::string> environment;  // beside the test's own; "" removes
  rlim_t largest_file = RLIM_INFINITY;             // bytes
  double timeout = 300;                            // seconds, then it is killed
  // Called over and over while it runs; to look at files and send signals.
  std::function<void(pid_t)> meanwhile;
};

// What exec needs, made before fork: between the two nothing may allocate.
class Arguments {
 public:
  Arguments(const std::vector<std::string>& arguments,
            const std::map<std::string, std::string>& changes)
      : strings_({ProgramPath()}) {
    strings_.insert(strings_.end(), arguments.begin(), arguments.end());
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      if (!changes.contains(std::string(text.substr(0, text.find('='))))) {
        environment_.emplace_back(text);
      }
    }
    for (const auto& [name, value] : changes) {
      if (!value.empty()) environment_.push_back(name + "=" + value);
    }
    for (std::string& s : strings_) arguments_.push_back(s.data());
    for (std::string& s : environment_) variables_.push_back(s.data());
    arguments_.push_back(nullptr);
    variables_.push_back(nullptr);
  }

  // Becomes the program, with the signals as a shell would leave them.
  [[noreturn]] void Exec() {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_DFL);
    ::execve(arguments_[0], arguments_.data(), variables_.data());
    ::_exit(127);
  }

 private:
  std::vector<std::string> strings_, environment_;
  std::vector<char*> arguments_, variables_;
};

// Waits for the child, `meanwhile` in between, and says how it ended.
inline Finished Await(pid_t child, double timeout, const std::function<void(pid_t)>& meanwhile) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, WNOHANG, &usage) == 0) {
    if (meanwhile) meanwhile(child);
    if (elapsed() > timeout) {
      ADD_FAILURE() << "still running after " << timeout << " s";
      ::kill(child, SIGKILL);
    }
    ::usleep(500);
  }
  Finished finished;
  for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
    finished.cpu_seconds +=
        static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  }
  finished.peak_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  if (WIFEXITED(status)) finished.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) finished.signal = WTERMSIG(status);
  return finished;
}

// A file in memory for one of the three streams.
class Stream {
 public:
  explicit Stream(std::string_view text = "") : fd_(::memfd_create("stream", MFD_CLOEXEC)) {
    if (!text.empty()) {
      EXPECT_EQ(::write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    ::lseek(fd_, 0, SEEK_SET);
  }
  ~Stream() { ::close(fd_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int fd() const { return fd_; }
  std::string Text() const {
    std::string text(static_cast<size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }

 private:
  int fd_;
};

// Runs `halftone <arguments>` to its end, on no terminal.
inline Finished Halftone(const std::vector<std::string>& arguments,
                         const RunOptions& options = {}) {
  Arguments program(arguments, options.environment);
  const Stream in(options.input), out, err;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in.fd(), 0);
    ::dup2(out.fd(), 1);
    ::dup2(err.fd(), 2);
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
    const rlimit limit{options.largest_file, options.largest_file};
    if (options.largest_file != RLIM_INFINITY) ::setrlimit(RLIMIT_FSIZE, &limit);
    program.Exec();
  }
  Finished finished = Await(child, options.timeout, options.meanwhile);
  finished.out = out.Text();
  finished.err = err.Text();
  return finished;
}

// What `halftone <arguments> --json` prints, which must succeed.
inline nlohmann::json Json(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const Finished run = Halftone(arguments);
  EXPECT_EQ(run.code, 0) << run.err;
  return run.code == 0 ? nlohmann::json::parse(run.out) : nlohmann::json();
}

}  // namespace halftone
