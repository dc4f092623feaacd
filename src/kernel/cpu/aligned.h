// Zeroed floats at a cache line's start.

#pragma once

#include <cstdint>
#include <memory>

namespace halftone {

// Throws Error (kIo) where the system has no memory left. Pages are first touched by whoever uses
// them, so that a large cache costs nothing before it fills.
std::shared_ptr<float[]> AllocateAligned(int64_t n);

}  // namespace halftone
