#include "cli/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace halftone::cli {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t interrupted = 0;  // the signal, or 0

void OnSignal(int signal) {
  if (interrupted != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupted = signal;
}

}  // namespace

void WatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  // No SA_RESTART: a read that waits for the next line of a chat must return. The default action of
  // the second signal must not wait for the handler of the first.
  action.sa_flags = SA_NODEFER;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction old {};
    // A signal that was ignored from the start (nohup) stays ignored.
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

bool Interrupted() { return interrupted != 0; }

bool BrokenPipe() { return interrupted == SIGPIPE; }

void EndIfInterrupted() {
  if (interrupted == 0) return;
  std::signal(interrupted, SIG_DFL);
  std::raise(interrupted);
}

void ClearInterrupt() { interrupted = 0; }

}  // namespace halftone::cli
