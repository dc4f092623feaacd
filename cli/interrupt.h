// Ctrl-C. The first one asks the running work to stop, so that it removes what it has half written;
// the second one ends the program at once. SIGTERM and SIGHUP do the same.

#pragma once

namespace halftone::cli {

// Installs the handlers. Call once, before any thread starts.
void WatchInterrupts();

// Whether one came since the last Clear.
bool Interrupted();

// Forgets it: what it interrupted has ended and the program goes on.
void ClearInterrupt();

}  // namespace halftone::cli
