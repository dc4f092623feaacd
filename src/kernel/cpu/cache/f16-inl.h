// Keys and values as IEEE 754 binary16, rounded to nearest even; what is finite stays finite.

#if defined(HALFTONE_KERNEL_CPU_CACHE_F16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_KERNEL_CPU_CACHE_F16_INL_H_
#undef HALFTONE_KERNEL_CPU_CACHE_F16_INL_H_
#else
#define HALFTONE_KERNEL_CPU_CACHE_F16_INL_H_
#endif

#include "kernel/cpu/cache/storage-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

struct CacheF16 {
  static constexpr int64_t kGroup = 0, kCodeBytes = 2;
  static constexpr int kPair = 1;

  static bool Holds(const Grid& grid) { return grid.plain && grid.name == "f16"; }

  static HWY_INLINE void Load(const uint8_t* at, V* values) { values[0] = LoadHalves(at); }

  static HWY_INLINE void StoreNumber(float x, uint8_t* code) { StoreLe(code, ToHalf(x)); }
};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // include guard
