// Arithmetic on sizes that come from a file: every operation says whether it overflowed.

#pragma once

#include <cstdint>
#include <optional>

namespace halftone {

inline std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

// The smallest multiple of `align` (> 0) that is at least `n`; none on overflow.
inline std::optional<uint64_t> CheckedRoundUp(uint64_t n, uint64_t align) {
  const uint64_t rest = n % align;
  return rest == 0 ? std::optional<uint64_t>(n) : CheckedAdd(n, align - rest);
}

}  // namespace halftone
