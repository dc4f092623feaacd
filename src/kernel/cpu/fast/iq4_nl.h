// IQ4_NL in products with rounded activations: its levels are integers, looked up as bytes.

#pragma once

#include "grid/iq4_nl.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<IQ4_NL> {
  static constexpr PanelForm kForm{.wide = true};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* blocks, Sink& sink) {
    constexpr int kBytes = IQ4_NL::kBytes;
    const __m128i levels = Levels256(IQ4_NL::kCodebook.data(), 1);
    sink.Steps(Halves256<kBytes>(blocks));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, LookUp256(levels, Nibbles256(blocks + kBytes * j + 2)));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
