// A fixed set of threads that run one parallel loop at a time.
//
// The engine starts thousands of short loops per token, so workers spin for a moment before they
// sleep: handing out a loop costs about a microsecond, with no lock and no allocation. A loop ends
// when its pieces are done, and does not wait for workers that never came to help: on a machine
// that is busy with other things they may be long in coming. Which thread runs which piece never
// changes a result: pieces are independent and write disjoint outputs.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/cancel.h"

namespace halftone {

class ThreadPool {
 public:
  // `threads` counts the calling thread; 0 means one for each processor this process may use.
  // `watched`: as Watch.
  explicit ThreadPool(int threads = 0, Progress* watched = nullptr);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // From now on the thread that calls For asks `progress` before each piece of its own whether to
  // go on, and leaves the loop with Error (kCancelled) where it says no: what the pieces were to
  // fill is then half filled. null: asks nobody.
  void Watch(Progress* progress) { watched_ = progress; }
  // Asks it now.
  void Look() const { CheckCancelled(watched_); }
  Progress* watched() const { return watched_; }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, thread) for each index in [0, count), each once, in any order, `thread` being
  // in [0, threads()). Returns when all are done. The first exception thrown by a body is rethrown
  // here after the loop has drained. Loops must not nest.
  template <class Body>
  void For(int64_t count, Body&& body) {
    using B = std::remove_reference_t<Body>;
    Run(count, const_cast<void*>(static_cast<const void*>(&body)),
        [](void* context, int64_t index, int thread) {
          (*static_cast<B*>(context))(index, thread);
        });
  }

 private:
  using Piece = void (*)(void* context, int64_t index, int thread);

  void Run(int64_t count, void* context, Piece piece);
  void Drain(int thread);
  void Work(int thread);

  std::vector<std::thread> workers_;
  Progress* watched_ = nullptr;

  // The loop in progress; written by Run while entry_ is closed and nobody is inside.
  Piece piece_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};

  // Which loop it is (upper 32 bits), whether workers may still join it (kClosed), and how many are
  // inside (the bits below).
  static constexpr uint64_t kClosed = uint64_t{1} << 31;
  static constexpr uint64_t kInside = kClosed - 1;
  alignas(64) std::atomic<uint64_t> entry_{kClosed};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace halftone
