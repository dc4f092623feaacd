// Cancelling: whoever works long asks its Progress whether to go on, at least every tenth of a
// second or so. Loops of a thread pool do that by themselves where they were told whom to ask
// (ThreadPool::Watch), so that methods and kernels need not know of it.

#pragma once

#include <string>
#include <type_traits>

#include "base/error.h"
#include "halftone/progress.h"

namespace halftone {

// Throws Error (kCancelled) where `progress`, which may be null, says so.
inline void CheckCancelled(Progress* progress) {
  if (progress != nullptr && progress->Cancelled()) Fail(Error::Kind::kCancelled, "cancelled");
}

// Returns work(). Where that is cancelled the error names the output that was not written.
template <class Work>
std::invoke_result_t<Work> NamingCancelled(const std::string& output, Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != Error::Kind::kCancelled) throw;
    Fail(error.kind(), "{}: cancelled", output);
  }
}

}  // namespace halftone
