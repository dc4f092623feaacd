// Groups of 32 dimensions with an f16 scale and codes of 8 bits: a code is a signed byte, from
// -127 to 127.

#if defined(HALFTONE_KERNEL_CPU_CACHE_EIGHT_BITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_KERNEL_CPU_CACHE_EIGHT_BITS_INL_H_
#undef HALFTONE_KERNEL_CPU_CACHE_EIGHT_BITS_INL_H_
#else
#define HALFTONE_KERNEL_CPU_CACHE_EIGHT_BITS_INL_H_
#endif

#include "kernel/cpu/cache/storage-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

struct CacheEightBits {
  static constexpr int64_t kGroup = 32, kCodeBytes = 1;
  static constexpr int kPair = 1;
  static constexpr int kFirst = -127;

  static bool Holds(const Grid& grid) { return IsSymmetric32(grid, 8, kFirst); }

  static HWY_INLINE void Load(const uint8_t* at, V* values) {
    const hn::Rebind<int8_t, D> d8;
    const hn::Rebind<int32_t, D> d32;
    const auto codes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(at));
    values[0] = hn::ConvertTo(d, hn::PromoteTo(d32, codes));
  }

  static HWY_INLINE float StoreGroup(const Grid& grid, const float* x, uint8_t* codes) {
    const float scale = RoundGroup(grid, x, codes);
    for (int e = 0; e < 32; ++e) codes[e] = static_cast<uint8_t>(codes[e] + kFirst);
    return scale;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // include guard
