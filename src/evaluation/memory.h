// Peak resident memory of this process.

#pragma once

#include <cstdint>

namespace halftone {

// Starts a new peak from what is resident now, where the system can (Linux, /proc/self/clear_refs);
// otherwise the peak stays that of the whole run.
void ResetPeakMemory();

// Bytes.
uint64_t PeakMemory();

}  // namespace halftone
