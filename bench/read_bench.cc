#include "bench/read_bench.h"

#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "evaluation/read_stream.h"

namespace halftone {
namespace {

constexpr size_t kBytes = size_t{1} << 28;
constexpr size_t kHugePage = size_t{1} << 21;

using Reader = uint64_t (*)(const uint8_t*, size_t);

template <size_t kWidth, int kStreams, int kAhead>
uint64_t Baseline(const uint8_t* data, size_t n) {
  return SumStreams<kWidth, kStreams, kAhead>(data, n);
}

#if defined(__x86_64__)
template <int kStreams, int kAhead>
__attribute__((target("avx2"))) uint64_t Avx2(const uint8_t* data, size_t n) {
  return SumStreams<32, kStreams, kAhead>(data, n);
}

template <int kStreams, int kAhead>
__attribute__((target("avx512f"))) uint64_t Avx512(const uint8_t* data, size_t n) {
  return SumStreams<64, kStreams, kAhead>(data, n);
}
#endif

double ProcessorSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void Read(benchmark::State& state, Reader read, bool huge) {
  const char* variable = std::getenv("HALFTONE_THREADS");
  ThreadPool pool(variable != nullptr ? std::atoi(variable) : 0);
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kHugePage, kBytes));
  ::madvise(memory, kBytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  std::memset(memory, 1, kBytes);
  const size_t piece = kBytes / static_cast<size_t>(pool.threads()) / 4096 * 4096;
  std::vector<double> rates(static_cast<size_t>(pool.threads()));
  double best = 0;
  for (auto _ : state) {
    pool.For(pool.threads(), [&](int64_t i, int) {
      const double start = ProcessorSeconds();
      benchmark::DoNotOptimize(read(memory + static_cast<size_t>(i) * piece, piece));
      rates[i] = static_cast<double>(piece) / (ProcessorSeconds() - start);
    });
    double sum = 0;
    for (const double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  std::free(memory);
  const double bytes = static_cast<double>(piece) * pool.threads();
  state.counters["GB/s"] = benchmark::Counter(bytes * static_cast<double>(state.iterations()) / 1e9,
                                              benchmark::Counter::kIsRate);
  state.counters["GB/s while running, best"] = best / 1e9;
}

void Register(const std::string& name, Reader read) {
  for (const bool huge : {false, true}) {
    benchmark::RegisterBenchmark(("Read/" + name + (huge ? "/huge" : "/4k")).c_str(), Read, read,
                                 huge)
        ->UseRealTime();
  }
}

}  // namespace

void RegisterReads() {
  Register("16B/1", Baseline<16, 1, 0>);
  Register("16B/1/ahead", Baseline<16, 1, 4096>);
  Register("16B/4", Baseline<16, 4, 0>);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    Register("32B/1", Avx2<1, 0>);
    Register("32B/4", Avx2<4, 0>);
  }
  if (__builtin_cpu_supports("avx512f")) {
    Register("64B/1", Avx512<1, 0>);
    Register("64B/1/ahead", Avx512<1, 4096>);
    Register("64B/2", Avx512<2, 0>);
    Register("64B/4", Avx512<4, 0>);
    Register("64B/4/ahead", Avx512<4, 4096>);
    Register("64B/8", Avx512<8, 0>);
  }
#endif
}

}  // namespace halftone
