#include "container/hf_codes.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/half.h"

namespace halftone {
namespace {

// 16 bytes in a vector of whatever the processor has (GCC's and Clang's extension).
using Bytes [[gnu::vector_size(16)]] = uint8_t;

Bytes Load(const uint8_t* p) {
  Bytes bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return bytes;
}

}  // namespace

void NibblesToBlock(const uint8_t* packed, FirstNibble first, int n, uint8_t* block) {
  const bool high = first == FirstNibble::kHigh;
  if (n % 32 != 0) {
    for (int i = 0; i < n / 2; ++i) {
      block[i] = high ? static_cast<uint8_t>(packed[i] >> 4 | packed[i] << 4) : packed[i];
    }
    return;
  }
  // Byte k has codes 2k and 2k + 1; the block's byte i has codes i and i + 16.
  for (int e = 0; e < n; e += 32, packed += 16, block += 16) {
    const Bytes bytes = Load(packed), low = bytes & 15, top = bytes >> 4;
    const Bytes even = high ? top : low, odd = high ? low : top;
    const Bytes lower =
        __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const Bytes upper = __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                                29, 14, 30, 15, 31);
    const Bytes both = lower | upper << 4;
    std::memcpy(block, &both, sizeof both);
  }
}

void NibblesFromBlock(const uint8_t* block, FirstNibble first, int n, uint8_t* packed) {
  const bool high = first == FirstNibble::kHigh;
  if (n % 32 != 0) return NibblesToBlock(block, first, n, packed);
  for (int e = 0; e < n; e += 32, packed += 16, block += 16) {
    const Bytes bytes = Load(block), lower = bytes & 15, upper = bytes >> 4;
    const Bytes even = __builtin_shufflevector(lower, upper, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                               22, 24, 26, 28, 30);
    const Bytes odd = __builtin_shufflevector(lower, upper, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21,
                                              23, 25, 27, 29, 31);
    const Bytes both = high ? odd | even << 4 : even | odd << 4;
    std::memcpy(packed, &both, sizeof both);
  }
}

void FlipSigns(const uint8_t* from, int64_t n, uint8_t* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i] ^ 0x80;
}

void UnpackBits(const uint8_t* packed, int bits, int64_t n, uint8_t* codes) {
  const unsigned mask = (1u << bits) - 1;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i * bits / 8;
    const int shift = static_cast<int>(i * bits % 8);
    unsigned two = packed[at];
    if (shift + bits > 8) two |= static_cast<unsigned>(packed[at + 1]) << 8;
    codes[i] = static_cast<uint8_t>(two >> shift & mask);
  }
}

void PackBits(const uint8_t* codes, int bits, int64_t n, uint8_t* packed) {
  std::fill_n(packed, (n * bits + 7) / 8, uint8_t{0});
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i * bits / 8;
    const int shift = static_cast<int>(i * bits % 8);
    const unsigned two = static_cast<unsigned>(codes[i]) << shift;
    packed[at] |= static_cast<uint8_t>(two);
    if (shift + bits > 8) packed[at + 1] |= static_cast<uint8_t>(two >> 8);
  }
}

const SafetensorsDtype& DtypeOf(Real real) {
  return *FindSafetensorsDtype(real == Real::kF32 ? "F32" : real == Real::kF16 ? "F16" : "BF16");
}

const Grid& PlainGrid(Real real) { return *FindGridByGgufType(DtypeOf(real).gguf_type); }

void StoreNumber(Real real, float value, uint8_t* p) {
  if (real == Real::kF32) return StoreLe(p, value);
  StoreLe(p, real == Real::kF16 ? F32ToF16(value) : F32ToBf16(value));
}

int BlockWithin(int64_t group, int64_t cols) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const int64_t block = std::gcd(group, cols);
  return block == 0 || block > kMost || block % 8 != 0 ? 0 : static_cast<int>(block);
}

}  // namespace halftone
