#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace halftone {
namespace {

// How often a worker looks for a new loop before it sleeps: some tens of microseconds.
constexpr int kSpins = 20000;
// How often the caller looks whether the last pieces are done before it makes room.
constexpr int kSpinsToYield = 20000;

// The number of the loop after the one that an entry names, in 32 bits.
uint64_t NextLoop(uint64_t entry) { return (entry + (uint64_t{1} << 32)) >> 32; }

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int UsableProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

ThreadPool::ThreadPool(int threads, Progress* watched) : watched_(watched) {
  if (threads <= 0) threads = UsableProcessors();
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { Work(t); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    entry_.store((NextLoop(entry_.load()) << 32) | kClosed);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Drain(int thread) {
  while (true) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    try {
      if (thread == 0) Look();
      piece_(context_, index, thread);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 0;  // the last loop that this worker knows of
  const auto news = [&] { return entry_.load() >> 32 != seen; };
  while (true) {
    for (int spin = 0; spin < kSpins && !news(); ++spin) Pause();
    if (!news()) {
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, news);
      sleeping_.fetch_sub(1);
    }
    if (stop_) return;
    uint64_t entry = entry_.load(std::memory_order_acquire);
    seen = entry >> 32;
    bool joined = false;
    while (!joined && entry >> 32 == seen && (entry & kClosed) == 0) {
      joined = entry_.compare_exchange_weak(entry, entry + 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire);
    }
    if (!joined) continue;
    Drain(thread);
    entry_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::Run(int64_t count, void* context, Piece piece) {
  piece_ = piece;
  context_ = context;
  count_ = count;
  failed_ = false;
  error_ = nullptr;
  next_.store(0, std::memory_order_relaxed);
  if (!workers_.empty() && count > 1) {
    entry_.store(NextLoop(entry_.load()) << 32);
    if (sleeping_.load() > 0) {
      // Taking the lock orders this wake-up after a worker's last look at entry_.
      { std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    Drain(0);
    entry_.fetch_or(kClosed, std::memory_order_acq_rel);
    for (int spin = 1; (entry_.load(std::memory_order_acquire) & kInside) != 0; ++spin) {
      Pause();
      // Whoever is inside may be waiting for this processor.
      if (spin % kSpinsToYield == 0) std::this_thread::yield();
    }
  } else {
    Drain(0);
  }
  if (failed_) std::rethrow_exception(error_);
}

}  // namespace halftone
