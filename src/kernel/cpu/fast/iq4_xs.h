// IQ4_XS in products with rounded activations: its levels are integers, looked up as bytes.

#pragma once

#include "grid/iq4_xs.h"
#include "kernel/cpu/fast/codes.h"

#if defined(__x86_64__)

namespace halftone {

HT_BEGIN_AVX2

template <>
struct Codes<IQ4_XS> {
  static constexpr PanelForm kForm{.wide = true};

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* block, Sink& sink) {
    const __m128i levels = Levels256(IQ4_XS::kCodebook.data(), 1);
    // Four and two bits of each scale to a byte.
    uint32_t low;
    uint16_t high;
    std::memcpy(&high, block + 2, sizeof high);
    std::memcpy(&low, block + 4, sizeof low);
    const uint64_t scales =
        _pdep_u64(low, 0x0F0F0F0F0F0F0F0F) | _pdep_u64(high, 0x3030303030303030);
    const __m128i centred =
        _mm_sub_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(scales)), _mm_set1_epi8(32));
    sink.Steps(_mm256_mul_ps(_mm256_set1_ps(Half256(block)), Signed256(centred)));
#if defined(HT_VNNI_UNIT)
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      sink.Pair(p, LookUp512(levels, NibblePairs512(Load256(block + 8 + 32 * p))));
    }
#else
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, LookUp256(levels, Nibbles256(block + 8 + 16 * j)));
#endif
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
