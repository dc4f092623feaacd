// A Progress that ends the work after so many questions whether to go on, as Ctrl-C would.

#pragma once

#include <cstdint>
#include <string_view>

#include "halftone/progress.h"

namespace halftone {

class Impatient : public Progress {
 public:
  explicit Impatient(int64_t questions) : left_(questions) {}
  void Begin(std::string_view, int64_t) override {}
  void Advance(int64_t) override {}
  void End() override {}
  void Note(std::string_view) override {}
  bool Cancelled() override { return left_-- <= 0; }

 private:
  int64_t left_;
};

}  // namespace halftone
