// Products whose inputs and weights are rounded to bf16, two at a time with f32 sums (VDPBF16PS):
// half the instructions of f32 products. For processors with AVX-512 BF16.
//
// Rounding is to nearest even; what is smaller than f32's normal numbers counts as zero. A sum's
// order depends on its length only.

#pragma once

#include <cstdint>

#include "kernel/cpu/isa.h"

namespace halftone {

// Numbers of a row come in whole vectors.
inline constexpr int64_t kBf16Vector = 32;
// Rows of a panel for AddProduct, which are packed in pairs, and its columns, in blocks.
inline constexpr int64_t kBf16Depth = 128;
inline constexpr int64_t kBf16Columns = 64;

struct Bf16Ops {
  // y[i] = x[i] rounded, i < n; zeros up to a whole vector.
  void (*round)(const float* x, int64_t n, uint16_t* y);

  // w need not be aligned:
  // y[t * y_stride + r] = sum_i x[t * stride + i] * w[r * stride + i] of rows of `stride` numbers,
  // a whole number of vectors.
  void (*dot_panel)(const void* w, int64_t rows, const uint16_t* x, int64_t tokens, int64_t stride,
                    float* y, int64_t y_stride);

  // A pair of rows of `cols` numbers into its place among the pairs of a panel: column i of pair k
  // is packed[(i / 64 * (kBf16Depth / 2) + k) * 64 + i % 64], the first row in its low half.
  // `second` null: zeros.
  void (*pack_pair)(const float* first, const float* second, int64_t cols, int64_t k,
                    uint32_t* packed);

  // c[t * cols + i] += sum_{k < depth} a[t * a_stride + k] * panel(k, i); a's rows continue with
  // zeros to an even depth.
  void (*add_product)(const uint16_t* a, int64_t a_stride, int64_t tokens, const uint32_t* packed,
                      int64_t depth, int64_t cols, float* c);
};

// Null where this processor or instruction set has no such products.
const Bf16Ops* FindBf16Ops(Isa isa);

}  // namespace halftone
