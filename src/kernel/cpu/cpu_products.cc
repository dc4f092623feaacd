// Products of CpuOps: matrices made ready, f32, rounded and LLM.int8() products, rows of an
// embedding.

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "grid/grouped.h"
#include "kernel/cpu/aligned.h"
#include "kernel/cpu/cpu_ops.h"

namespace halftone {
namespace {

// Floats of decoded weights that stay in a core's second-level cache beside the activations.
constexpr int64_t kPanelFloats = 96 << 10;

// Rows that are decoded at once for few tokens: what the product's inner loop takes together.
constexpr int64_t kStripRows = 8;

// Tokens that a panel multiplies before it moves on: their blocks stay in the second-level cache.
constexpr int64_t kTokenBlock = 512;
// GGUF's type of numbers that are bf16.
constexpr int kBf16Type = 30;
// Rows that MatMulBack decodes together.
constexpr int64_t kBackRows = 128;
// Floats of scratch for a panel, before the sums of its tokens.
constexpr auto kPanelScratch = static_cast<int64_t>(sizeof(Panel) / sizeof(float));

struct CpuMatrix : Matrix {
  // For LLM.int8(): nothing below is used but the threshold.
  std::optional<Int8Weights> int8;
  float threshold = 0;
  Tensor tensor;
  GridKernels kernels{};
  // The floats themselves where the grid is f32 and lies aligned, else null.
  const float* floats = nullptr;
  int64_t stride = 0;      // floats between decoded rows: whole cache lines
  int64_t panel_rows = 0;  // rows decoded at once for many tokens
};

const CpuMatrix& Ours(const Matrix& w) { return static_cast<const CpuMatrix&>(w); }

}  // namespace

std::unique_ptr<Matrix> CpuOps::Prepare(const Tensor& tensor) {
  if (tensor.shape.size() != 2) {
    FailUnsupported("tensor '{}': a matrix has two dimensions, not {}", tensor.name,
                    ShapeText(tensor.shape));
  }
  auto matrix = std::make_unique<CpuMatrix>();
  matrix->rows = tensor.shape[0];
  matrix->cols = tensor.shape[1];
  matrix->tensor = Loaded(tensor, pool_);
  matrix->kernels = KernelsFor(*tensor.grid, isa_);
  const uint8_t* data = matrix->tensor.data.data();
  if (tensor.grid == &F32Grid() && reinterpret_cast<uintptr_t>(data) % alignof(float) == 0) {
    matrix->floats = reinterpret_cast<const float*>(data);
  }
  matrix->stride = RoundUp(std::max<int64_t>(matrix->cols, 1), 16);
  matrix->panel_rows =
      std::max(kStripRows, kPanelFloats / matrix->stride / kStripRows * kStripRows);
  // In bf16 behind one row in f32.
  const int64_t rounded = matrix->panel_rows * RoundUp(matrix->cols, kBf16Vector) / 2;
  ReserveScratch(std::max(matrix->panel_rows * matrix->stride, matrix->stride + rounded));
  return matrix;
}

std::unique_ptr<Matrix> CpuOps::PrepareInt8(const Tensor& tensor, float threshold) {
  if (tensor.shape.size() != 2 || !IsAbsmaxRows(*tensor.grid) || tensor.order != nullptr ||
      tensor.cols() > Int8Weights::kMaxCols) {
    FailUnsupported("tensor '{}': LLM.int8() needs a matrix of 8-bit rows of at most {} weights",
                    tensor.name, Int8Weights::kMaxCols);
  }
  if (!(threshold >= 0)) FailUsage("the threshold of LLM.int8() must not be {}", threshold);
  auto matrix = std::make_unique<CpuMatrix>();
  matrix->rows = tensor.shape[0];
  matrix->cols = tensor.shape[1];
  matrix->int8 = PackInt8(Loaded(tensor, pool_), pool_);
  matrix->threshold = threshold;
  ReserveScratch((kInt8Tokens + 1) * Int8Weights::kPanel);
  return matrix;
}

void CpuOps::MatMulInt8(const Int8Weights& w, float threshold, const float* x, int64_t tokens,
                        float* y) {
  constexpr int64_t kPanel = Int8Weights::kPanel;
  Int8Batch& batch = int8_batch_;
  // Whole vectors of words, so that the last codes may be stored as one.
  batch.stride = RoundUp(w.words, 16);
  const auto words = static_cast<size_t>(tokens * batch.stride);
  if (batch.tokens.size() < static_cast<size_t>(tokens)) batch.tokens.resize(tokens);
  if (batch.codes.size() < words) batch.codes.resize(words);
  if (int8_.spread && batch.even.size() < words) {
    batch.even.resize(words);
    batch.odd.resize(words);
  }
  Split(tokens, 1, tokens * w.cols * 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) int8_.round(x + t * w.cols, w.cols, threshold, t, batch);
  });
  Split(w.rows, kPanel, w.rows * w.cols * tokens, [&](int64_t begin, int64_t end, int thread) {
    auto* sums = reinterpret_cast<int32_t*>(Scratch(thread));
    float* partial = Scratch(thread) + kInt8Tokens * kPanel;
    for (int64_t r = begin; r < end; r += kPanel) {
      const uint8_t* panel = w.panel(r / kPanel);
      const int64_t rows = std::min(kPanel, end - r);
      for (int64_t t = 0; t < tokens; t += int8_.tokens) {
        const int count = static_cast<int>(std::min<int64_t>(int8_.tokens, tokens - t));
        int8_.dot(panel, w.words, batch, t, count, sums);
        for (int i = 0; i < count; ++i) {
          float* out = y + (t + i) * w.rows + r;
          int8_.finish(panel, sums + i * kPanel, batch.tokens[t + i], &w.scales[r],
                       rows == kPanel ? out : partial);
          if (rows < kPanel) std::copy_n(partial, rows, out);
        }
      }
    }
  });
}

const RoundedBlock* CpuOps::RoundTokens(const float* x, int64_t tokens, int64_t cols) {
  const int64_t count = RoundedBlocks(cols) * tokens;
  if (count > rounded_count_) {
    rounded_blocks_ = AllocateAligned(count * static_cast<int64_t>(sizeof(RoundedBlock)) / 4);
    rounded_count_ = count;
  }
  auto* blocks = reinterpret_cast<RoundedBlock*>(rounded_blocks_.get());
  Split(tokens, 1, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) rounded_->round(x + t * cols, cols, blocks + t, tokens);
  });
  return blocks;
}

bool CpuOps::Rounds(const Matrix& matrix) const {
  const CpuMatrix& w = Ours(matrix);
  return rounded_ != nullptr && !w.int8 && w.kernels.rounded.dot != nullptr;
}

void CpuOps::MultiplyPanels(const MatrixProduct& product, const RoundedBlock* blocks,
                            int64_t tokens, int64_t begin, int64_t end, int thread) {
  const CpuMatrix& w = Ours(*product.w);
  const RoundedKernels& kernels = w.kernels.rounded;
  const auto row_bytes = static_cast<int64_t>(w.tensor.row_bytes());
  const uint8_t* data = w.tensor.data.data();
  auto& panel = *reinterpret_cast<Panel*>(Scratch(thread));
  float* sums = Scratch(thread) + kPanelScratch;
  for (int64_t r = begin; r < end; r += Panel::kRows) {
    const int64_t count = std::min(Panel::kRows, end - r);
    for (int64_t t0 = 0; t0 < tokens; t0 += kTokenBlock) {
      const int64_t n = std::min(kTokenBlock, tokens - t0);
      for (int64_t s = 0; s < RoundedBlocks(w.cols); ++s) {
        const int64_t columns = std::min(kRoundedColumns, w.cols - s * kRoundedColumns);
        kernels.unpack(*w.tensor.grid, data + r * row_bytes, row_bytes, count, s, w.cols, panel);
        rounded_->multiply(panel, kernels.form, columns, blocks + s * tokens + t0, n, s == 0, sums);
      }
      for (int64_t t = 0; t < n; ++t) {
        std::copy_n(sums + t * Panel::kRows, count, product.y + (t0 + t) * w.rows + r);
      }
    }
  }
}

void CpuOps::MatMulRounded(std::span<const MatrixProduct> products, const float* x,
                           int64_t tokens) {
  const int64_t cols = products[0].w->cols;
  const RoundedBlock* blocks = RoundTokens(x, tokens, cols);
  if (tokens > 1) ReserveScratch(kPanelScratch + std::min(tokens, kTokenBlock) * Panel::kRows);
  // All rows in one line, each matrix a whole number of units.
  const int64_t unit = tokens == 1 ? kStripRows : Panel::kRows;
  int64_t rows = 0;
  for (const MatrixProduct& product : products) rows += RoundUp(product.w->rows, unit);
  Split(rows, unit, rows * cols * tokens, [&](int64_t begin, int64_t end, int thread) {
    for (const MatrixProduct& product : products) {
      const CpuMatrix& w = Ours(*product.w);
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, w.rows);
      begin -= RoundUp(w.rows, unit);
      end -= RoundUp(w.rows, unit);
      if (first >= last) continue;
      if (tokens > 1) {
        MultiplyPanels(product, blocks, tokens, first, last, thread);
        continue;
      }
      const auto row_bytes = static_cast<int64_t>(w.tensor.row_bytes());
      w.kernels.rounded.dot(*w.tensor.grid, w.tensor.data.data() + first * row_bytes, row_bytes,
                            last - first, blocks, cols, product.y + first);
    }
  });
}

void CpuOps::MatMulAll(std::span<const MatrixProduct> products, const float* x, int64_t tokens) {
  const bool together = std::ranges::all_of(products, [&](const MatrixProduct& product) {
    return Rounds(*product.w) && Ours(*product.w).tensor.order == nullptr;
  });
  if (!together) return Ops::MatMulAll(products, x, tokens);
  MatMulRounded(products, x, tokens);
}

// The columns of x in the order in which the weights' blocks hold them.
const float* CpuOps::Gather(const std::vector<int32_t>& order, const float* x, int64_t tokens) {
  const auto cols = static_cast<int64_t>(order.size());
  if (tokens * cols > gathered_floats_) {
    gathered_floats_ = tokens * cols;
    gathered_ = AllocateAligned(gathered_floats_);
  }
  Split(tokens, 1, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t p = 0; p < cols; ++p) gathered_[t * cols + p] = x[t * cols + order[p]];
    }
  });
  return gathered_.get();
}

void CpuOps::MatMul(const Matrix& matrix, const float* x, int64_t tokens, float* y) {
  const CpuMatrix& w = Ours(matrix);
  if (w.int8) return MatMulInt8(*w.int8, w.threshold, x, tokens, y);
  if (w.tensor.order != nullptr) x = Gather(*w.tensor.order, x, tokens);
  if (Rounds(matrix)) {
    const MatrixProduct product{&matrix, y};
    return MatMulRounded({&product, 1}, x, tokens);
  }
  if (bf16_ != nullptr && tokens > 1) return MatMulBf16(matrix, x, tokens, y);
  const uint64_t row_bytes = w.tensor.row_bytes();
  const int64_t strip = tokens <= 16 ? kStripRows : w.panel_rows;
  Split(w.rows, kStripRows, w.rows * w.cols * tokens, [&](int64_t begin, int64_t end, int thread) {
    if (tokens == 1 && w.kernels.dot_rows != nullptr) {
      w.kernels.dot_rows(*w.tensor.grid, w.tensor.data.data() + begin * row_bytes,
                         static_cast<int64_t>(row_bytes), end - begin, x, w.cols, y + begin);
      return;
    }
    for (int64_t r = begin; r < end; r += strip) {
      const int64_t n = std::min(strip, end - r);
      const float* weights = w.floats + r * w.cols;
      int64_t stride = w.cols;
      if (w.floats == nullptr) {
        float* scratch = Scratch(thread);
        stride = w.stride;
        for (int64_t i = 0; i < n; ++i) {
          w.kernels.decode(*w.tensor.grid, w.tensor.data.data() + (r + i) * row_bytes, w.cols,
                           scratch + i * stride);
        }
        weights = scratch;
      }
      vector_.dot_panel(weights, stride, n, x, w.cols, tokens, w.cols, y + r, w.rows);
    }
  });
}

const uint16_t* CpuOps::RoundToBf16(const float* x, int64_t tokens, int64_t cols) {
  const int64_t stride = RoundUp(cols, kBf16Vector);
  if (tokens * stride > 2 * bf16_floats_) {
    bf16_floats_ = tokens * stride / 2;
    bf16_inputs_ = AllocateAligned(bf16_floats_);
  }
  auto* rounded = reinterpret_cast<uint16_t*>(bf16_inputs_.get());
  Split(tokens, 1, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) bf16_->round(x + t * cols, cols, rounded + t * stride);
  });
  return rounded;
}

void CpuOps::MatMulBf16(const Matrix& matrix, const float* x, int64_t tokens, float* y) {
  const CpuMatrix& w = Ours(matrix);
  const int64_t stride = RoundUp(w.cols, kBf16Vector);
  const uint16_t* inputs = RoundToBf16(x, tokens, w.cols);
  // What is bf16 already is multiplied as it lies.
  const bool as_it_is = w.tensor.grid->gguf_type == kBf16Type && stride == w.cols;
  Split(w.rows, kStripRows, w.rows * w.cols * tokens, [&](int64_t begin, int64_t end, int thread) {
    float* decoded = Scratch(thread);
    auto* rounded = reinterpret_cast<uint16_t*>(decoded + w.stride);
    for (int64_t r = begin; r < end; r += w.panel_rows) {
      const int64_t n = std::min(w.panel_rows, end - r);
      if (as_it_is) {
        bf16_->dot_panel(w.tensor.row(r).data(), n, inputs, tokens, stride, y + r, w.rows);
        continue;
      }
      for (int64_t i = 0; i < n; ++i) {
        const float* row = w.floats + (r + i) * w.cols;
        if (w.floats == nullptr) {
          w.kernels.decode(*w.tensor.grid, w.tensor.row(r + i).data(), w.cols, decoded);
          row = decoded;
        }
        bf16_->round(row, w.cols, rounded + i * stride);
      }
      bf16_->dot_panel(decoded + w.stride, n, inputs, tokens, stride, y + r, w.rows);
    }
  });
}

void CpuOps::MatMulBackBf16(const Matrix& matrix, const float* dy, int64_t tokens, float* dx) {
  const CpuMatrix& w = Ours(matrix);
  const int64_t dy_stride = RoundUp(w.rows, kBf16Vector);
  const uint16_t* inputs = RoundToBf16(dy, tokens, w.rows);
  const int64_t floats = kBf16Depth / 2 * RoundUp(w.cols, kBf16Columns);
  if (floats > panel_floats_) {
    panel_floats_ = floats;
    panel_ = AllocateAligned(panel_floats_);
  }
  auto* packed = reinterpret_cast<uint32_t*>(panel_.get());
  ReserveScratch(2 * w.stride);
  for (int64_t r = 0; r < w.rows; r += kBf16Depth) {
    const int64_t n = std::min(kBf16Depth, w.rows - r);
    Split((n + 1) / 2, 1, n * w.cols * 4, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t k = begin; k < end; ++k) {
        const float* rows[2] = {};
        for (int64_t half = 0; half < 2 && 2 * k + half < n; ++half) {
          const int64_t row = r + 2 * k + half;
          float* decoded = Scratch(thread) + half * w.stride;
          rows[half] = w.floats + row * w.cols;
          if (w.floats != nullptr) continue;
          w.kernels.decode(*w.tensor.grid, w.tensor.row(row).data(), w.cols, decoded);
          rows[half] = decoded;
        }
        bf16_->pack_pair(rows[0], rows[1], w.cols, k, packed);
      }
    });
    Split(tokens, kTileRows, n * w.cols * tokens, [&](int64_t begin, int64_t end, int) {
      bf16_->add_product(inputs + begin * dy_stride + r, dy_stride, end - begin, packed, n, w.cols,
                         dx + begin * w.cols);
    });
  }
}

// Rows are decoded once for all tokens, by all threads, then multiplied by them.
void CpuOps::MatMulBack(const Matrix& matrix, const float* dy, int64_t tokens, float* dx) {
  const CpuMatrix& w = Ours(matrix);
  if (w.int8) FailUnsupported("a matrix for LLM.int8() has no derivatives");
  const auto* order = w.tensor.order.get();
  float* to = dx;
  if (order != nullptr) {
    ordered_.assign(static_cast<size_t>(tokens * w.cols), 0.0f);
    to = ordered_.data();
  }
  if (bf16_ != nullptr && order == nullptr) return MatMulBackBf16(matrix, dy, tokens, dx);
  const int64_t stride = w.floats != nullptr ? w.cols : w.stride;
  if (w.floats == nullptr && kBackRows * stride > panel_floats_) {
    panel_floats_ = kBackRows * stride;
    panel_ = AllocateAligned(panel_floats_);
  }
  for (int64_t r = 0; r < w.rows; r += kBackRows) {
    const int64_t n = std::min(kBackRows, w.rows - r);
    const float* weights = w.floats + r * w.cols;
    if (w.floats == nullptr) {
      Split(n, 1, n * w.cols * 4, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          w.kernels.decode(*w.tensor.grid, w.tensor.row(r + i).data(), w.cols,
                           panel_.get() + i * stride);
        }
      });
      weights = panel_.get();
    }
    Split(tokens, kTileRows, n * w.cols * tokens, [&](int64_t begin, int64_t end, int) {
      gradient_.add_product({dy + begin * w.rows + r, w.rows}, {weights, stride}, end - begin,
                            w.cols, n, 1.0f, to + begin * w.cols, w.cols);
    });
  }
  if (order == nullptr) return;
  Split(tokens, 1, tokens * w.cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t p = 0; p < w.cols; ++p) dx[t * w.cols + (*order)[p]] += to[t * w.cols + p];
    }
  });
}

void CpuOps::EmbedRows(const Matrix& matrix, std::span<const int32_t> ids, float* y) {
  const CpuMatrix& w = Ours(matrix);
  const auto count = static_cast<int64_t>(ids.size());
  Split(count, 1, count * w.cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      if (w.tensor.order != nullptr) {
        DecodeRow(w.tensor, ids[t], y + t * w.cols);
        continue;
      }
      w.kernels.decode(*w.tensor.grid, w.tensor.row(ids[t]).data(), w.cols, y + t * w.cols);
    }
  });
}

}  // namespace halftone
