#include "kernel/cpu/aligned.h"

#include <cstdlib>

#include "base/checked.h"
#include "base/error.h"

namespace halftone {

std::shared_ptr<float[]> AllocateAligned(int64_t n) {
  constexpr uintptr_t kLine = 64;
  const auto bytes = n < 0 ? std::nullopt : CheckedMul(static_cast<uint64_t>(n), sizeof(float));
  const auto padded = bytes ? CheckedAdd(*bytes, kLine) : std::nullopt;
  // calloc hands out the system's zero pages; aligned_alloc with a fill would touch them all.
  void* memory = padded ? std::calloc(*padded, 1) : nullptr;
  if (memory == nullptr) FailIo("no memory for {} floats", n);
  const auto start = (reinterpret_cast<uintptr_t>(memory) + kLine - 1) / kLine * kLine;
  return {reinterpret_cast<float*>(start), [memory](float*) { std::free(memory); }};
}

}  // namespace halftone
