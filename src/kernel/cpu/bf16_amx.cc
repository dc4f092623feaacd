// The product of bf16_ops.h in tiles (AMX, TDPBF16PS): 16 tokens by 16 columns by 16 pairs in one
// instruction. A panel's blocks have the form that it asks for. Each sum adds up its first and its
// second numbers apart, 32 numbers at a time.
//
// The system hands out the tiles' registers on request, once for a process; a call shapes them and
// lets go of them.

#include "kernel/cpu/bf16_amx.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/cpu/bf16_ops.h"
#include "kernel/cpu/fast/avx512.h"

namespace halftone {
namespace {

HT_TARGET(HT_AVX512_NAMES ",amx-tile,amx-bf16")

constexpr int64_t kTile = 16;            // rows of a tile, and its columns of 4 bytes
constexpr int64_t kTokens = 2 * kTile;   // that two tiles hold
constexpr int64_t kDepth = 2 * kTile;    // numbers of a row that a tile holds
constexpr int64_t kColumns = 2 * kTile;  // that a pass over the depth has

// Tiles 0 to 3 are sums, [tokens, columns] in quarters; 4 and 5 tokens, 6 and 7 columns.
struct alignas(64) Shape {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // For so many tokens, at most kTokens.
  explicit Shape(int64_t tokens) {
    const auto first = static_cast<uint8_t>(std::min(tokens, kTile));
    const auto second = static_cast<uint8_t>(std::max<int64_t>(tokens - kTile, 0));
    const uint8_t of_tile[8] = {first, first, second, second, first, second, kTile, kTile};
    for (int i = 0; i < 8; ++i) {
      rows[i] = of_tile[i];
      row_bytes[i] = of_tile[i] > 0 ? 4 * kTile : 0;
    }
  }
};
static_assert(sizeof(Shape) == 64);

// What C++ wrote is in memory before tiles read it: the compiler does not know that they do.
HT_INLINE void Settle() { asm volatile("" ::: "memory"); }

// Up to kTokens tokens by all columns of a block; kBoth: more than one tile of tokens. `rest` holds
// the pairs behind the last whole tile, if any, with zeros behind.
template <bool kBoth>
HT_INLINE void MultiplyTokens(const uint16_t* a, int64_t a_row, const uint32_t* block,
                              int64_t depth, const uint32_t* rest, bool add, float* c,
                              int64_t c_row) {
  const int64_t a_bytes = 2 * a_row, c_bytes = 4 * c_row, block_bytes = 4 * kBf16Columns;
  for (int64_t i = 0; i < kBf16Columns; i += kColumns) {
    if (add) {
      _tile_loadd(0, c + i, c_bytes);
      _tile_loadd(1, c + i + kTile, c_bytes);
      if constexpr (kBoth) {
        _tile_loadd(2, c + kTile * c_row + i, c_bytes);
        _tile_loadd(3, c + kTile * c_row + i + kTile, c_bytes);
      }
    } else {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (kBoth) {
        _tile_zero(2);
        _tile_zero(3);
      }
    }
    for (int64_t k = 0; k < depth; k += kDepth) {
      const uint32_t* columns = k + kDepth <= depth ? block + k / 2 * kBf16Columns + i : rest + i;
      _tile_loadd(4, a + k, a_bytes);
      _tile_loadd(6, columns, block_bytes);
      _tile_loadd(7, columns + kTile, block_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kBoth) {
        _tile_loadd(5, a + kTile * a_row + k, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c + i, c_bytes);
    _tile_stored(1, c + i + kTile, c_bytes);
    if constexpr (kBoth) {
      _tile_stored(2, c + kTile * c_row + i, c_bytes);
      _tile_stored(3, c + kTile * c_row + i + kTile, c_bytes);
    }
  }
}

void Multiply(const uint16_t* a, int64_t a_row, int64_t tokens, const uint32_t* block,
              int64_t depth, int64_t columns, bool add, float* c, int64_t c_row) {
  alignas(64) uint32_t rest[kDepth / 2 * kBf16Columns];
  if (depth % kDepth != 0) {
    const int64_t pairs = (depth % kDepth + 1) / 2;
    std::copy_n(block + depth / kDepth * (kDepth / 2) * kBf16Columns, pairs * kBf16Columns, rest);
    std::fill(rest + pairs * kBf16Columns, std::end(rest), 0);
  }
  alignas(64) float whole[kTokens * kBf16Columns];
  const bool partly = columns < kBf16Columns;
  int64_t shaped = 0;
  for (int64_t t = 0; t < tokens; t += kTokens) {
    const int64_t count = std::min(kTokens, tokens - t);
    float* to = partly ? whole : c + t * c_row;
    const int64_t to_row = partly ? kBf16Columns : c_row;
    if (partly && add) {
      for (int64_t j = 0; j < count; ++j) {
        float* row = whole + j * kBf16Columns;
        std::fill(std::copy_n(c + (t + j) * c_row, columns, row), row + kBf16Columns, 0.0f);
      }
    }
    if (shaped != count) {
      const Shape shape(count);
      Settle();
      _tile_loadconfig(&shape);
      shaped = count;
    }
    Settle();
    const auto* tokens_at = a + t * a_row;
    if (count > kTile) {
      MultiplyTokens<true>(tokens_at, a_row, block, depth, rest, add, to, to_row);
    } else {
      MultiplyTokens<false>(tokens_at, a_row, block, depth, rest, add, to, to_row);
    }
    Settle();
    for (int64_t j = 0; partly && j < count; ++j) {
      std::copy_n(whole + j * kBf16Columns, columns, c + (t + j) * c_row);
    }
  }
  _tile_release();
}

HT_END_TARGET

bool Granted() {
  constexpr unsigned kTiles = 1u << 24, kBf16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTiles) == 0 || (d & kBf16) == 0) {
    return false;
  }
  // ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA, asm/prctl.h of Linux 5.16.
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

Bf16Multiply FindAmxMultiply() {
  static const bool granted = Granted();
  return granted ? &Multiply : nullptr;
}

}  // namespace halftone

#else

namespace halftone {

Bf16Multiply FindAmxMultiply() { return nullptr; }

}  // namespace halftone

#endif
