#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <initializer_list>

namespace halftone::cli {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t interrupted = 0;  // the signal, or 0
// Holds a byte after an interrupt: a wait for input can watch it, whichever thread the signal hit.
int wake[2] = {-1, -1};

void OnSignal(int signal) {
  const int error = errno;
  if (interrupted != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupted = signal;
  [[maybe_unused]] const ssize_t written = ::write(wake[1], "", 1);
  errno = error;
}

}  // namespace

void WatchInterrupts() {
  // Without it, as when no descriptor is left, only a wait for input goes on.
  if (::pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) wake[0] = wake[1] = -1;
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

bool WaitForInput(int fd) {
  pollfd watched[] = {{fd, POLLIN, 0}, {wake[0], POLLIN, 0}};
  while (!Interrupted()) {
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return true;
    if (watched[0].revents != 0) return !Interrupted();
  }
  return false;
}

bool BrokenPipe() { return interrupted == SIGPIPE; }

void EndIfInterrupted() {
  if (interrupted == 0) return;
  std::signal(interrupted, SIG_DFL);
  std::raise(interrupted);
}

void ClearInterrupt() {
  interrupted = 0;
  char bytes[64];
  while (::read(wake[0], bytes, sizeof bytes) > 0) {
  }
}

}  // namespace halftone::cli
