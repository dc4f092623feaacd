// The inner loop of the bandwidth measurement: sums memory so that loads are the only limit.
//
// A thread reads kStreams stretches side by side, 256 bytes of each in turn: a processor's own
// prefetching follows a stretch to the end of its page and begins anew there, which costs less when
// the others go on meanwhile. kAhead asks for what comes so many bytes later, for processors that
// prefetch too little of their own. docs/performance.md has what each measured.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace halftone {

// 64-bit sums side by side. A function whose target lacks registers of the size uses smaller ones.
template <size_t kBytes>
struct Lanes {
  typedef uint64_t Vector __attribute__((vector_size(kBytes)));
};

// The sum of n bytes, a multiple of 256 * kStreams, as 64-bit words. To be inlined into a function
// that says for which instructions it is compiled.
template <size_t kBytes, int kStreams, int kAhead>
[[gnu::always_inline]] inline uint64_t SumStreams(const uint8_t* data, size_t n) {
  using Vector = typename Lanes<kBytes>::Vector;
  constexpr size_t kStep = 256;
  constexpr size_t kSums = 8;  // independent, since each addition waits for the one before
  Vector sums[kSums] = {};
  const size_t stretch = n / kStreams;
  for (size_t i = 0; i < stretch; i += kStep) {
    for (size_t s = 0; s < kStreams; ++s) {
      const uint8_t* p = data + s * stretch + i;
      if constexpr (kAhead > 0) {
        for (size_t k = 0; k < kStep; k += 64) __builtin_prefetch(p + k + kAhead);
      }
#pragma GCC unroll 16
      for (size_t k = 0; k < kStep / kBytes; ++k) {
        Vector v;
        std::memcpy(&v, p + k * kBytes, kBytes);
        sums[k % kSums] += v;
      }
    }
  }
  uint64_t sum = 0;
  for (const Vector& v : sums) {
    for (size_t k = 0; k < kBytes / sizeof(uint64_t); ++k) sum += v[k];
  }
  return sum;
}

}  // namespace halftone
