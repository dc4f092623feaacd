// Scalar conversions between f32 and the 16- and 8-bit floats that model files use, bit-exact with
// IEEE 754 round-to-nearest-even (f16, bf16) and with ggml's own small floats (e8m0, ue4m3).

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace halftone {

// The compiler's own half type: one F16C instruction where the target has it, the run-time
// library's exact routine where it does not. clang before 15 knows it on x86 only as the storage
// type, g++ before 13 does so on aarch64.
#if defined(__clang__) || defined(__aarch64__)
using Half = __fp16;
#else
using Half = _Float16;
#endif

// IEEE 754 binary16 -> f32, exact, subnormals and infinities included.
inline float F16ToF32(uint16_t h) {
  Half v;
  std::memcpy(&v, &h, sizeof v);
  return static_cast<float>(v);
}

// f32 -> IEEE 754 binary16, round to nearest even; overflow gives infinity, NaN a quiet NaN.
inline uint16_t F32ToF16(float f) {
  const Half v = static_cast<Half>(f);
  uint16_t h;
  std::memcpy(&h, &v, sizeof h);
  return h;
}

inline float Bf16ToF32(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

// f32 -> bfloat16, round to nearest even; a NaN stays a (quiet) NaN.
inline uint16_t F32ToBf16(float f) {
  const uint32_t w = std::bit_cast<uint32_t>(f);
  if ((w & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((w >> 16) | 64);
  return static_cast<uint16_t>((w + (0x7FFFu + ((w >> 16) & 1))) >> 16);
}

// Reads a little-endian value at any alignment. Every target of this project is little-endian.
template <class T>
inline T LoadLe(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
inline void StoreLe(void* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

inline float LoadF16(const void* p) { return F16ToF32(LoadLe<uint16_t>(p)); }
inline void StoreF16(void* p, float f) { StoreLe(p, F32ToF16(f)); }

}  // namespace halftone
