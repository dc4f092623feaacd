// How long work reports itself to a front end. The library itself never prints.

#pragma once

#include <cstdint>
#include <string_view>

namespace halftone {

// Callbacks come from the calling thread only, never from a worker, and never nest: a task is
// Begin, any number of Advance, End. All functions must return quickly.
class Progress {
 public:
  virtual ~Progress() = default;

  // A task of `total` units starts; `task` names it for a person ("quantize to q4_k_m").
  virtual void Begin(std::string_view task, int64_t total) = 0;
  // `done` of the total units are finished.
  virtual void Advance(int64_t done) = 0;
  virtual void End() = 0;

  // A remark that a person should see, such as a fallback that was taken.
  virtual void Note(std::string_view message) = 0;

  // Polled between units; true makes the running call throw Error::Kind::kCancelled and leave no
  // half-written file.
  virtual bool Cancelled() { return false; }
};

}  // namespace halftone
