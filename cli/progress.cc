#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/format.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace halftone::cli {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;

constexpr double kShowAfter = 0.5;  // seconds until a bar appears
constexpr double kLongTask = 2;     // seconds from which a task is worth a line
constexpr double kLogEvery = 10;    // seconds between lines where stderr is no terminal
constexpr int kBarLeast = 8;        // columns
constexpr int kBarMost = 32;

void WriteError(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

std::string Bar(double fraction, int columns, bool utf8) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(fraction * columns * 8);
  const int full = eighths / 8;
  std::string bar;
  int width = full;
  for (int i = 0; i < full; ++i) bar += utf8 ? "█" : "#";
  if (utf8 && full < columns && eighths % 8 != 0) {
    bar += kEighths[eighths % 8];
    ++width;
  }
  for (; width < columns; ++width) bar += utf8 ? "░" : ".";
  return bar;
}

}  // namespace

ConsoleProgress::ConsoleProgress()
    : terminal_(HasCursor(STDERR_FILENO)),
      colour_(HasColour(STDERR_FILENO)),
      utf8_(IsUtf8Locale()),
      logged_(Clock::now() - std::chrono::seconds(60)) {}

ConsoleProgress::~ConsoleProgress() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (active_) Erase();
    active_ = false;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ConsoleProgress::Begin(std::string_view task, int64_t total) {
  std::lock_guard lock(mutex_);
  task_ = Printable(task);
  total_ = total;
  done_ = 0;
  start_ = Clock::now();
  active_ = true;
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
}

void ConsoleProgress::End() {
  std::lock_guard lock(mutex_);
  if (!active_) return;
  active_ = false;
  const double elapsed = Elapsed();
  Erase();
  if (terminal_ && elapsed >= kLongTask) {
    WriteError(fmt::format("{}: {}\n", Shorten(task_, TerminalColumns(STDERR_FILENO) - 12),
                           HumanSeconds(elapsed)));
  }
}

void ConsoleProgress::Abandon() {
  std::lock_guard lock(mutex_);
  if (active_) Erase();
  active_ = false;
}

void ConsoleProgress::Note(std::string_view message) {
  std::lock_guard lock(mutex_);
  Erase();
  WriteError(fmt::format("halftone: note: {}\n", Printable(message)));
}

bool ConsoleProgress::Cancelled() { return Interrupted(); }

double ConsoleProgress::Elapsed() const { return duration<double>(Clock::now() - start_).count(); }

void ConsoleProgress::Loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, milliseconds(200));
    if (stop_ || !active_) continue;
    const double elapsed = Elapsed();
    if (terminal_) {
      if (elapsed >= kShowAfter) Draw(elapsed);
    } else {
      Log(elapsed);
    }
  }
}

// "52 %  45.2M/s  1:12 left", or less of it where there is no room.
std::string ConsoleProgress::Figures(double elapsed, int columns) const {
  const auto done = static_cast<double>(done_.load(std::memory_order_relaxed));
  if (total_ <= 0) return HumanSeconds(elapsed);
  const double fraction = std::clamp(done / static_cast<double>(total_), 0.0, 1.0);
  const std::string share = fmt::format("{:3.0f} %", std::floor(fraction * 100));
  if (done <= 0) return share + "  " + HumanSeconds(elapsed);
  // Few large units have no speed that tells anything.
  const double rate = done / elapsed;
  const std::string speed = rate < 1 ? "" : fmt::format("  {}/s", HumanCount(rate));
  const std::string left =
      fmt::format("  {} left", HumanSeconds(elapsed * (1 - fraction) / fraction));
  for (const std::string& figures : {share + speed + left, share + left}) {
    if (DisplayWidth(figures) <= columns) return figures;
  }
  return share;
}

void ConsoleProgress::Draw(double elapsed) {
  // The last columns stay free: a terminal that wraps would scroll, and Ctrl-C is shown as ^C.
  const int columns = TerminalColumns(STDERR_FILENO) - 3;
  const std::string figures = Figures(elapsed, columns - 2);
  const int room = columns - DisplayWidth(figures) - 2;
  const std::string task = Shorten(task_, std::max(0, room));
  std::string line = task;
  const int bar = std::min(kBarMost, room - DisplayWidth(task) - 2);
  if (total_ > 0 && bar >= kBarLeast) {
    const double fraction =
        std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
    const std::string drawn = Bar(fraction, bar, utf8_);
    line += "  " + (colour_ ? "\033[36m" + drawn + "\033[0m" : drawn);
  }
  line += "  " + figures;
  WriteError("\r\033[K" + line);
  drawn_ = true;
}

void ConsoleProgress::Log(double elapsed) {
  if (elapsed < kLongTask || duration<double>(Clock::now() - logged_).count() < kLogEvery) return;
  logged_ = Clock::now();
  std::string figures = Figures(elapsed, 80);
  figures.erase(0, figures.find_first_not_of(' '));
  WriteError(fmt::format("halftone: {}: {}\n", task_, figures));
}

void ConsoleProgress::Erase() {
  if (drawn_) WriteError("\r\033[K");
  drawn_ = false;
}

}  // namespace halftone::cli
