// Sequential read bandwidth of memory: the limit that generation is judged against.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "halftone/evaluate.h"

namespace halftone {
namespace {

constexpr size_t kBytes = size_t{1} << 29;  // beyond the caches that one core can fill quickly
constexpr int kRepeats = 4;

// Sums a piece with independent accumulators, so that loads are the only limit.
uint64_t ReadPiece(const uint64_t* data, size_t n) {
  uint64_t sums[16] = {};
  for (size_t i = 0; i + 16 <= n; i += 16) {
    for (size_t j = 0; j < 16; ++j) sums[j] += data[i + j];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

}  // namespace

double MeasureReadBandwidth(int threads) {
  ThreadPool pool(threads);
  const size_t words = kBytes / sizeof(uint64_t);
  const std::vector<uint64_t> data(words, 1);
  const size_t piece = words / static_cast<size_t>(pool.threads());
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    pool.For(pool.threads(), [&](int64_t i, int) {
      sink.fetch_add(ReadPiece(data.data() + static_cast<size_t>(i) * piece, piece));
    });
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(piece * pool.threads() * sizeof(uint64_t)) / seconds);
  }
  return best / 1e9;
}

}  // namespace halftone
