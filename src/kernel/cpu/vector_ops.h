// The vector kernels that the CPU backend is built from: one table of functions for each
// instruction set. All are single-threaded and allocate nothing.
//
// Every sum runs in an order that depends on the instruction set and the length only, never on how
// many rows or tokens a call has: a token's result does not depend on its neighbours in a batch.

#pragma once

#include <cstdint>

#include "kernel/cpu/isa.h"

namespace halftone {

struct VectorOps {
  // y[t * y_stride + r] = sum_i x[t * x_stride + i] * w[r * w_stride + i], i < cols.
  void (*dot_panel)(const float* w, int64_t w_stride, int64_t rows, const float* x,
                    int64_t x_stride, int64_t tokens, int64_t cols, float* y, int64_t y_stride);

  // One row: y[i] = x[i] / sqrt(mean x^2 + eps) * weight[i], squares summed in f64. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t width, float* y);

  // x[i] += y[i].
  void (*add)(float* x, const float* y, int64_t n);

  // gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i].
  void (*silu_multiply)(float* gate, const float* up, int64_t n);

  // gate[i] = gate[i] / (1 + exp(-2 z)) * up[i], z = sqrt(2/pi) * (gate[i] + 0.044715 gate[i]^3).
  void (*gelu_multiply)(float* gate, const float* up, int64_t n);

  // x[i] = cap * tanh(x[i] / cap).
  void (*soft_cap)(float* x, float cap, int64_t n);

  // Rotates the first 2 * pairs values of one head: (a, b) -> (a cos - b sin, b cos + a sin), the
  // pair being (2i, 2i+1) or (i, i+pairs).
  void (*rotate_interleaved)(float* x, const float* cosines, const float* sines, int64_t pairs);
  void (*rotate_halves)(float* x, const float* cosines, const float* sines, int64_t pairs);
};

const VectorOps& VectorOpsFor(Isa isa);

}  // namespace halftone
