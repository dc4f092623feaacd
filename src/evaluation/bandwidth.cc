// Sequential read bandwidth of memory: the limit that generation is judged against.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>

#include "base/pages.h"
#include "base/seconds.h"
#include "base/thread_pool.h"
#include "evaluation/read_stream.h"
#include "halftone/evaluate.h"

namespace halftone {
namespace {

constexpr size_t kBytes = size_t{1} << 29;  // beyond the caches that one core can fill quickly
constexpr int kRepeats = 4;
constexpr int kStreams = 4;
constexpr int kAhead = 4096;  // bytes, for the pass that prefetches

using Reader = uint64_t (*)(const uint8_t* data, size_t n);

// The ways of reading that take turns, of which the best counts.
struct Readers {
  Reader plain;
  Reader ahead;
};

uint64_t Plain16(const uint8_t* data, size_t n) { return SumStreams<16, kStreams, 0>(data, n); }
uint64_t Ahead16(const uint8_t* data, size_t n) {
  return SumStreams<16, kStreams, kAhead>(data, n);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t Plain32(const uint8_t* data, size_t n) {
  return SumStreams<32, kStreams, 0>(data, n);
}
__attribute__((target("avx2"))) uint64_t Ahead32(const uint8_t* data, size_t n) {
  return SumStreams<32, kStreams, kAhead>(data, n);
}
__attribute__((target("avx512f"))) uint64_t Plain64(const uint8_t* data, size_t n) {
  return SumStreams<64, kStreams, 0>(data, n);
}
__attribute__((target("avx512f"))) uint64_t Ahead64(const uint8_t* data, size_t n) {
  return SumStreams<64, kStreams, kAhead>(data, n);
}
#endif

// The widest loads that the processor has.
Readers WidestReaders() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {Plain64, Ahead64};
  if (__builtin_cpu_supports("avx2")) return {Plain32, Ahead32};
#endif
  return {Plain16, Ahead16};
}

}  // namespace

double MeasureReadBandwidth(int threads, Progress* progress) {
  ThreadPool pool(threads, progress);
  const auto memory = AllocatePages(kBytes);
  const size_t piece = kBytes / static_cast<size_t>(pool.threads()) / 4096 * 4096;
  const auto at = [&](int64_t i) { return memory.get() + static_cast<size_t>(i) * piece; };
  // Each thread first touches what it will read: the system puts it near that thread.
  pool.For(pool.threads(), [&](int64_t i, int) { std::memset(at(i), 1, piece); });
  const Readers readers = WidestReaders();
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    for (const Reader read : {readers.plain, readers.ahead}) {
      const auto start = std::chrono::steady_clock::now();
      pool.For(pool.threads(), [&](int64_t i, int) { sink.fetch_add(read(at(i), piece)); });
      const double seconds = SecondsSince(start);
      best = std::max(best, static_cast<double>(piece) * pool.threads() / seconds);
    }
  }
  return best / 1e9;
}

}  // namespace halftone
