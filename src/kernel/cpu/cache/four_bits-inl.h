// Groups of 32 dimensions with an f16 scale and codes of 4 bits: a byte holds the codes of
// dimension r in its low half and of r + 16 in its high half; the level is the code less 8.

#if defined(HALFTONE_KERNEL_CPU_CACHE_FOUR_BITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_KERNEL_CPU_CACHE_FOUR_BITS_INL_H_
#undef HALFTONE_KERNEL_CPU_CACHE_FOUR_BITS_INL_H_
#else
#define HALFTONE_KERNEL_CPU_CACHE_FOUR_BITS_INL_H_
#endif

#include "kernel/cpu/cache/storage-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

struct CacheFourBits {
  static constexpr int64_t kGroup = 32, kCodeBytes = 1;
  static constexpr int kPair = 2;
  static constexpr int kFirst = -8;

  static bool Holds(const Grid& grid) { return IsSymmetric32(grid, 4, kFirst); }

  static HWY_INLINE void Load(const uint8_t* at, V* values) {
    const hn::Rebind<uint8_t, D> d8;
    const hn::Rebind<int32_t, D> d32;
    const auto pairs = hn::PromoteTo(d32, hn::LoadU(d8, at));
    const auto low = hn::And(pairs, hn::Set(d32, 15)), high = hn::ShiftRight<4>(pairs);
    values[0] = hn::ConvertTo(d, hn::Add(low, hn::Set(d32, kFirst)));
    values[1] = hn::ConvertTo(d, hn::Add(high, hn::Set(d32, kFirst)));
  }

  static HWY_INLINE float StoreGroup(const Grid& grid, const float* x, uint8_t* codes) {
    uint8_t single[32];
    const float scale = RoundGroup(grid, x, single);
    for (int e = 0; e < 16; ++e) codes[e] = static_cast<uint8_t>(single[e] | single[16 + e] << 4);
    return scale;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // include guard
