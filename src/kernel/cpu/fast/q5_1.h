// Q5_1 in products with rounded activations, as Q5_0 but for the minimum.

#pragma once

#include "grid/q5_1.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q5_1> {
  static constexpr PanelForm kForm{.minima = true};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* blocks, Sink& sink) {
    constexpr int kBytes = Q5_1::kBytes;
    sink.Steps(Halves256<kBytes>(blocks));
    sink.Minima(_mm256_xor_ps(Halves256<kBytes>(blocks + 2), _mm256_set1_ps(-0.0f)));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, FiveBits256(blocks + kBytes * j + 4, blocks + kBytes * j + 8));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
