// IQ4_NL in products with rounded activations: its levels are integers, looked up as bytes.

#pragma once

#include "grid/iq4_nl.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<IQ4_NL> : CodesOfGroups<IQ4_NL> {
  static constexpr PanelForm kForm{.wide = true};

  HT_INLINE static __m256i Of(const uint8_t* block) {
    return LookUp256(Levels256(IQ4_NL::kCodebook.data(), 1), Nibbles256(block + 2));
  }
#if defined(HT_VNNI_UNIT)
  HT_INLINE static __m512i PairOf(const uint8_t* blocks, int p) {
    return LookUp512(Levels256(IQ4_NL::kCodebook.data(), 1),
                     NibblePairs512<IQ4_NL::kBytes, 2>(blocks, p));
  }
#endif
};

HT_END_TARGET

}  // namespace halftone

#endif
