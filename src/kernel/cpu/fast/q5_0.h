// Q5_0 in products with rounded activations: the fifth bits spread over bytes.

#pragma once

#include "grid/q5_0.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<Q5_0> : CodesOfGroups<Q5_0> {
  static constexpr PanelForm kForm{.offset = 16, .largest = 31};

  HT_INLINE static __m256i Of(const uint8_t* block) { return FiveBits256(block + 2, block + 6); }
};

HT_END_TARGET

}  // namespace halftone

#endif
