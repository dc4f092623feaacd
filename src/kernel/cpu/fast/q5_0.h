// Q5_0 in products with rounded activations: the fifth bits spread over bytes.

#pragma once

#include "grid/q5_0.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q5_0> {
  static constexpr PanelForm kForm{.offset = 16};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* blocks, Sink& sink) {
    constexpr int kBytes = Q5_0::kBytes;
    sink.Steps(Halves256<kBytes>(blocks));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, FiveBits256(blocks + kBytes * j + 2, blocks + kBytes * j + 6));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
