// How far long work has come, on stderr.
//
// On a terminal: a bar, redrawn five times a second by a thread of its own, so that the time runs
// even while one large tensor takes its time; it appears after half a second and goes away at the
// end, leaving one line for a task of two seconds or more. Elsewhere (a log file, a pipe): one
// plain line at most every ten seconds, and none for short tasks.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "halftone/progress.h"

namespace halftone::cli {

class ConsoleProgress : public Progress {
 public:
  ConsoleProgress();
  ~ConsoleProgress() override;

  void Begin(std::string_view task, int64_t total) override;
  void Advance(int64_t done) override { done_.store(done, std::memory_order_relaxed); }
  void End() override;
  void Note(std::string_view message) override;
  bool Cancelled() override;

  // Takes the bar away after an error that left a task unfinished.
  void Abandon();

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  void Draw(double elapsed);
  void Log(double elapsed);
  void Erase();
  double Elapsed() const;
  std::string Figures(double elapsed, int columns) const;

  const bool terminal_;
  const bool colour_;
  const bool utf8_;

  std::atomic<int64_t> done_{0};

  std::mutex mutex_;  // guards what follows, and stderr while a task runs
  std::condition_variable wake_;
  std::thread thread_;
  bool stop_ = false;
  bool active_ = false;
  bool drawn_ = false;
  std::string task_;
  int64_t total_ = 0;
  Clock::time_point start_;
  Clock::time_point logged_;
};

}  // namespace halftone::cli
