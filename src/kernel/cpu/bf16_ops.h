// Products whose inputs and weights are rounded to bf16, with f32 sums: by AMX's tiles where there
// are such, or two numbers at a time (VDPBF16PS) where that is half the work of f32 products, which
// is on AMD's processors with AVX-512 BF16.
//
// Rounding is to nearest even; what is smaller than f32's normal numbers counts as zero. A sum's
// order depends on its length only.

#pragma once

#include <cstdint>

#include "kernel/cpu/isa.h"

namespace halftone {

// Numbers of a row come in whole vectors.
inline constexpr int64_t kBf16Vector = 32;
// A panel is the right side of a product, [depth, columns], in blocks of so many of each. A block
// holds pairs of rows, the first in the low half: row 2k + h of column i is half h of
// block[k * kBf16Columns + i].
inline constexpr int64_t kBf16Depth = 128;
inline constexpr int64_t kBf16Columns = 64;
inline constexpr int64_t kBf16BlockPairs = kBf16Depth / 2 * kBf16Columns;

struct Bf16Ops {
  // y[i] = x[i] rounded, i < n; zeros up to a whole vector.
  void (*round)(const float* x, int64_t n, uint16_t* y);

  // Two rows of `cols` numbers become pair k of blocks that lie one behind the other. `second`
  // null: zeros.
  void (*pack_rows)(const float* first, const float* second, int64_t cols, int64_t k,
                    uint32_t* blocks);

  // Up to kBf16Columns rows of `stride` bf16 numbers, a whole number of vectors, become the columns
  // of stride / kBf16Depth blocks, the last one perhaps not as deep; columns without a row are
  // zeros. The rows need not be aligned.
  void (*pack_columns)(const void* rows, int64_t count, int64_t stride, uint32_t* blocks);

  // c[t * c_row + i] = (add ? itself : 0) + sum_{k < depth} a[t * a_row + k] * block(k, i) for
  // columns i < `columns` of one block; a's rows continue with zeros to a whole vector.
  void (*multiply)(const uint16_t* a, int64_t a_row, int64_t tokens, const uint32_t* block,
                   int64_t depth, int64_t columns, bool add, float* c, int64_t c_row);
};

// Null where this processor or instruction set has no such products that are worth it.
const Bf16Ops* FindBf16Ops(Isa isa);

}  // namespace halftone
