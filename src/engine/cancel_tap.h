// Asks in front of each linear layer whether to go on, so that a long forward pass can be left.

#pragma once

#include <cstdint>
#include <string_view>

#include "base/cancel.h"
#include "model/forward.h"

namespace halftone {

class CancelTap : public Tap {
 public:
  // null: always goes on.
  explicit CancelTap(Progress* progress) : progress_(progress) {}

  // Throws Error (kCancelled).
  void Check() const { CheckCancelled(progress_); }

  void OnInput(std::string_view, const float*, int64_t, int64_t) override { Check(); }
  void OnExpertInput(std::string_view, int64_t, int64_t, const float*, int64_t, int64_t) override {
    Check();
  }

 private:
  Progress* progress_;
};

}  // namespace halftone
