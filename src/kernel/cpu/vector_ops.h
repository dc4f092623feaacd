// The vector kernels that the CPU backend is built from: one table of functions for each
// instruction set. All are single-threaded and allocate nothing.
//
// Every sum runs in an order that depends on the instruction set and the length only, never on how
// many rows or tokens a call has: a token's result does not depend on its neighbours in a batch.

#pragma once

#include <cstdint>

#include "kernel/cpu/isa.h"

namespace halftone {

// The cache of one key-value head. Positions come in tiles of kKeyTile whose keys lie dimension by
// dimension, so that scores of neighbouring positions share a vector:
//   key(p, i)   = keys[(p / kKeyTile * head_dim + i) * kKeyTile + p % kKeyTile]
//   value(p, i) = values[p * PaddedHead(head_dim) + i]
// Both hold a multiple of kAttentionChunk positions.
struct HeadCache {
  const float* keys;
  const float* values;
};
inline constexpr int64_t kKeyTile = 16;
constexpr int64_t PaddedHead(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Positions that attention weighs before it rescales its sums.
inline constexpr int64_t kAttentionChunk = 128;

// One row of attention: a token's query for one head, attending to positions [0, limit).
struct Query {
  const float* q;
  float* out;
  int64_t limit;  // > 0
};
// Rows that one call of attend may have.
inline constexpr int64_t kMaxQueries = 8;
// Floats of scratch that it needs, 64-byte aligned.
constexpr int64_t AttentionScratch(int64_t head_dim) {
  return kMaxQueries * (kAttentionChunk + PaddedHead(head_dim));
}

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

  // Rotates the first 2 * pairs values of one head: (a, b) -> (a cos - b sin, b cos + a sin), the
  // pair being (2i, 2i+1) or (i, i+pairs).
  void (*rotate_interleaved)(float* x, const float* cosines, const float* sines, int64_t pairs);
  void (*rotate_halves)(float* x, const float* cosines, const float* sines, int64_t pairs);

  // out = sum_p softmax_p(q . key(p) * scale) value(p), p < limit, for each of `count` queries on
  // one head's cache, which holds all positions below every limit.
  void (*attend)(const HeadCache& cache, const Query* queries, int64_t count, int64_t head_dim,
                 float scale, float* scratch);
};

const VectorOps& VectorOpsFor(Isa isa);

}  // namespace halftone
