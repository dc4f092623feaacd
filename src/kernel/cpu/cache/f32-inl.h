// Keys and values as they are.

#if defined(HALFTONE_KERNEL_CPU_CACHE_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALFTONE_KERNEL_CPU_CACHE_F32_INL_H_
#undef HALFTONE_KERNEL_CPU_CACHE_F32_INL_H_
#else
#define HALFTONE_KERNEL_CPU_CACHE_F32_INL_H_
#endif

#include "kernel/cpu/cache/storage-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

struct CacheF32 {
  static constexpr int64_t kGroup = 0, kCodeBytes = 4;
  static constexpr int kPair = 1;

  static bool Holds(const Grid& grid) { return &grid == &F32Grid(); }

  static HWY_INLINE void Load(const uint8_t* at, V* values) {
    values[0] = hn::LoadU(d, reinterpret_cast<const float*>(at));
  }

  static HWY_INLINE void StoreNumber(float x, uint8_t* code) { StoreLe(code, x); }
};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#endif  // include guard
