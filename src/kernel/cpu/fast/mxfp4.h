// MXFP4 in products with rounded activations: twice its levels are integers, looked up as bytes.

#pragma once

#include <bit>

#include "grid/mxfp4.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<MXFP4> : CodesOfGroups<MXFP4> {
  static constexpr PanelForm kForm{.wide = true};

  HT_INLINE static __m256i Of(const uint8_t* block) {
    return LookUp256(Levels256(MXFP4::kCodebook.data(), 2), Nibbles256(block + 1));
  }
  // 2^(e - 128), for twice the levels.
  HT_INLINE static float Step(const uint8_t* block) {
    const uint32_t e = block[0];
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }
  HT_INLINE static __m256 Steps(const uint8_t* blocks) {
    constexpr int kBytes = MXFP4::kBytes;
    return _mm256_setr_ps(Step(blocks), Step(blocks + kBytes), Step(blocks + 2 * kBytes),
                          Step(blocks + 3 * kBytes), Step(blocks + 4 * kBytes),
                          Step(blocks + 5 * kBytes), Step(blocks + 6 * kBytes),
                          Step(blocks + 7 * kBytes));
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
