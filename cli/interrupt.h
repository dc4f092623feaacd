// Ctrl-C. The first one asks the running work to stop, so that it removes what it has half written;
// the second one ends the program at once. SIGTERM, SIGHUP and SIGPIPE (the reader of a stream is
// gone) do the same. When all is cleaned up the program ends by that signal, as shells expect: a
// loop in a script stops, too.

#pragma once

namespace halftone::cli {

// Installs the handlers, and lets a write beyond the limit of `ulimit -f` fail like one on a full
// disk. Call once, before any thread starts.
void WatchInterrupts();

// Whether one came since the last Clear.
bool Interrupted();

// Waits until there is something to read from the descriptor or it has ended. False after an
// interrupt, also one that came before the call and was not forgotten.
bool WaitForInput(int fd);

// Whether the reader of one of the streams is gone, so that there is nobody to tell anything.
bool BrokenPipe();

// Ends the program by the signal that came, if one did.
void EndIfInterrupted();

// Forgets it: what it interrupted has ended and the program goes on.
void ClearInterrupt();

}  // namespace halftone::cli
