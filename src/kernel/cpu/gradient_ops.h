// The vector kernels of training: one table of functions for each instruction set, as vector_ops.h
// has them for inference. All are single-threaded and allocate nothing.

#pragma once

#include <cstdint>

#include "kernel/cpu/isa.h"

namespace halftone {

// A matrix as a kernel reads it: element (i, j) lies at data[i * row + j * col].
struct MatrixView {
  const float* data;
  int64_t row;
  int64_t col = 1;
};

// Rows of a panel, at most; and what its columns are rounded up to, on every instruction set.
inline constexpr int64_t kPanelDepth = 128;
inline constexpr int64_t kPanelColumns = 64;

struct GradientOps {
  // c[m * c_row + n] += factor * sum_k a(m, k) * b(k, n); b's columns lie together (b.col is 1).
  // Sums run over blocks of 128 k, in ascending order, whatever m and n there are.
  void (*add_product)(const MatrixView& a, const MatrixView& b, int64_t m, int64_t n, int64_t k,
                      float factor, float* c, int64_t c_row);

  // The same with a b that many calls share and none copies: pack_row puts one of its rows, k <
  // kPanelDepth, into a panel of kPanelDepth * n floats, n rounded up to kPanelColumns, 64-byte
  // aligned. c[m * c_row + n] += sum_{k < depth} a(m, k) * panel(k, n).
  void (*pack_row)(const float* row, int64_t n, int64_t k, float* panel);
  void (*multiply_panel)(const MatrixView& a, const float* panel, int64_t m, int64_t n,
                         int64_t depth, float* c, int64_t c_row);

  // One row of Ops::RmsNormBack.
  void (*rms_norm_back)(const float* x, const float* weight, float eps, const float* dy,
                        int64_t width, float* dx);

  void (*silu_multiply_back)(const float* gate, const float* up, const float* dy, int64_t n,
                             float* dgate, float* dup);
  void (*gelu_multiply_back)(const float* gate, const float* up, const float* dy, int64_t n,
                             float* dgate, float* dup);

  // One row of Ops::CrossEntropy; returns the loss.
  double (*cross_entropy)(float* logits, int64_t width, int64_t target, float factor);

  // For one query of attention: its products with `count` keys become the weights of the values,
  // as ScoreForm says. Where softcap is not 0 `slopes` are each capped score's derivatives by the
  // uncapped one.
  void (*soften)(float* scores, int64_t count, float scale, float softcap, float* slopes);
  // derivative[p] = weights[p] * (derivative[p] - sum_j weights[j] * derivative[j]), times
  // slopes[p] where they are not null: what softmax gives back.
  void (*soften_back)(const float* weights, const float* slopes, int64_t count, float* derivative);
};

const GradientOps& GradientOpsFor(Isa isa);

}  // namespace halftone
