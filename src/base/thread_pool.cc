#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace halftone {
namespace {

// How often a worker looks for a new loop before it sleeps: some tens of microseconds.
constexpr int kSpins = 20000;

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

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = UsableProcessors();
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { Work(t); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Drain(int thread) {
  while (true) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    try {
      piece_(context_, index, thread);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::Work(int thread) {
  uint32_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin)
      Pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      sleeping_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    Drain(thread);
    running_.fetch_sub(1, std::memory_order_release);
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
    running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1);
    if (sleeping_.load() > 0) {
      // Taking the lock orders this wake-up after a worker's last look at generation_.
      { std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    Drain(0);
    while (running_.load(std::memory_order_acquire) > 0) Pause();
  } else {
    Drain(0);
  }
  if (failed_) std::rethrow_exception(error_);
}

}  // namespace halftone
