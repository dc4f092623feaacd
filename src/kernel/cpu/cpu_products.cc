// Products of CpuOps: matrices made ready, f32, rounded and LLM.int8() products, rows of an
// embedding.

#include <algorithm>
#include <optional>
#include <utility>

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
// Likewise in bf16, where inputs and results of a block share it.
constexpr int64_t kBf16Tokens = 192;
// Tokens whose derivatives meet a panel together in MatMulBack.
constexpr int64_t kBackTokens = 8 * kTileRows;
// Of MatMulBack in bf16, words of a panel that all threads share.
constexpr int64_t kBackPanelFloats = 128 << 10;
// GGUF's type of numbers that are bf16.
constexpr int kBf16Type = 30;
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
  ReserveScratch(matrix->panel_rows * matrix->stride);
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
  const int64_t floats = tokens * RoundUp(cols, kBf16Depth) / 2;
  if (floats > bf16_floats_) {
    bf16_floats_ = floats;
    bf16_inputs_ = AllocateAligned(bf16_floats_);
  }
  auto* rounded = reinterpret_cast<uint16_t*>(bf16_inputs_.get());
  Split(tokens, 1, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t k = 0; k < cols; k += kBf16Depth) {
        bf16_->round(x + t * cols + k, std::min(kBf16Depth, cols - k),
                     rounded + k * tokens + t * kBf16Depth);
      }
    }
  });
  return rounded;
}

namespace {

// Rows [r, r + n) become a panel's columns. scratch: as many rows in bf16, and one in f32.
void PackColumns(const CpuMatrix& w, const Bf16Ops& ops, int64_t r, int64_t n, float* scratch,
                 uint32_t* blocks) {
  const int64_t stride = RoundUp(w.cols, kBf16Vector);
  // What is bf16 already is packed as it lies.
  if (w.tensor.grid->gguf_type == kBf16Type && stride == w.cols) {
    return ops.pack_columns(w.tensor.row(r).data(), n, stride, blocks);
  }
  auto* rounded = reinterpret_cast<uint16_t*>(scratch);
  float* decoded = scratch + kBf16Columns * stride / 2;
  for (int64_t i = 0; i < n; ++i) {
    const float* row = w.floats + (r + i) * w.cols;
    if (w.floats == nullptr) {
      w.kernels.decode(*w.tensor.grid, w.tensor.row(r + i).data(), w.cols, decoded);
      row = decoded;
    }
    ops.round(row, w.cols, rounded + i * stride);
  }
  ops.pack_columns(rounded, n, stride, blocks);
}

}  // namespace

void CpuOps::MatMulBf16(const Matrix& matrix, const float* x, int64_t tokens, float* y) {
  const CpuMatrix& w = Ours(matrix);
  const int64_t stride = RoundUp(w.cols, kBf16Vector);
  const uint16_t* inputs = RoundToBf16(x, tokens, w.cols);
  const int64_t panel = kBf16Columns * stride / 2;
  ReserveScratch(2 * panel + w.stride);
  // A piece is a panel for some of the tokens: for all of them where there are panels enough.
  const int64_t panels = (w.rows + kBf16Columns - 1) / kBf16Columns;
  const int64_t chunks =
      std::clamp<int64_t>(4 * threads() / panels, 1, (tokens + kBf16Tokens - 1) / kBf16Tokens);
  const int64_t chunk = RoundUp((tokens + chunks - 1) / chunks, kTileRows);
  Split(panels * chunks, 1, w.rows * w.cols * tokens, [&](int64_t begin, int64_t end, int thread) {
    auto* blocks = reinterpret_cast<uint32_t*>(Scratch(thread));
    int64_t packed = -1;
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t r = piece / chunks * kBf16Columns, n = std::min(kBf16Columns, w.rows - r);
      if (r != std::exchange(packed, r))
        PackColumns(w, *bf16_, r, n, Scratch(thread) + panel, blocks);
      const int64_t first = piece % chunks * chunk, last = std::min(tokens, first + chunk);
      for (int64_t t = first; t < last; t += kBf16Tokens) {
        for (int64_t k = 0; k < stride; k += kBf16Depth) {
          bf16_->multiply(inputs + k * tokens + t * kBf16Depth, kBf16Depth,
                          std::min(kBf16Tokens, last - t),
                          blocks + k / kBf16Depth * kBf16BlockPairs,
                          std::min(kBf16Depth, stride - k), n, k > 0, y + t * w.rows + r, w.rows);
        }
      }
    }
  });
}

void CpuOps::MatMulBackBf16(const Matrix& matrix, const float* dy, int64_t tokens, float* dx) {
  const CpuMatrix& w = Ours(matrix);
  const uint16_t* inputs = RoundToBf16(dy, tokens, w.rows);
  // Rows are packed in stretches of kBf16Depth, several at once: dx is read and written once for
  // them all.
  const int64_t floats = RoundUp(w.cols, kBf16Columns) / kBf16Columns * kBf16BlockPairs;
  const int64_t stretches = std::max<int64_t>(1, kBackPanelFloats / floats);
  const int64_t together = std::min(stretches * kBf16Depth, RoundUp(w.rows, kBf16Depth));
  if (together / kBf16Depth * floats > panel_floats_) {
    panel_floats_ = together / kBf16Depth * floats;
    panel_ = AllocateAligned(panel_floats_);
  }
  auto* blocks = reinterpret_cast<uint32_t*>(panel_.get());
  ReserveScratch(2 * w.stride);
  for (int64_t r = 0; r < w.rows; r += together) {
    const int64_t n = std::min(together, w.rows - r);
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
        bf16_->pack_rows(rows[0], rows[1], w.cols, 2 * k % kBf16Depth / 2,
                         blocks + 2 * k / kBf16Depth * floats);
      }
    });
    Split(tokens, kTileRows, n * w.cols * tokens, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t += kBf16Tokens) {
        const int64_t count = std::min(kBf16Tokens, end - t);
        for (int64_t i = 0; i < w.cols; i += kBf16Columns) {
          for (int64_t k = 0; k < n; k += kBf16Depth) {
            bf16_->multiply(inputs + (r + k) * tokens + t * kBf16Depth, kBf16Depth, count,
                            blocks + k / kBf16Depth * floats + i / kBf16Columns * kBf16BlockPairs,
                            std::min(kBf16Depth, n - k), std::min(kBf16Columns, w.cols - i), true,
                            dx + t * w.cols + i, w.cols);
          }
        }
      }
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
  ReserveScratch(kBackTokens * kPanelDepth);
  const int64_t floats = kPanelDepth * RoundUp(w.cols, kPanelColumns);
  if (floats > panel_floats_) {
    panel_floats_ = floats;
    panel_ = AllocateAligned(panel_floats_);
  }
  for (int64_t r = 0; r < w.rows; r += kPanelDepth) {
    const int64_t n = std::min(kPanelDepth, w.rows - r);
    Split(n, 1, n * w.cols * 4, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = w.floats + (r + i) * w.cols;
        if (w.floats == nullptr) {
          row = Scratch(thread);
          w.kernels.decode(*w.tensor.grid, w.tensor.row(r + i).data(), w.cols, Scratch(thread));
        }
        gradient_.pack_row(row, w.cols, i, panel_.get());
      }
    });
    Split(tokens, kTileRows, n * w.cols * tokens, [&](int64_t begin, int64_t end, int thread) {
      // Of a copy, for the reason why panels are copied.
      float* some = Scratch(thread);
      for (int64_t t = begin; t < end; t += kBackTokens) {
        const int64_t count = std::min(kBackTokens, end - t);
        for (int64_t i = 0; i < count; ++i) {
          std::copy_n(dy + (t + i) * w.rows + r, n, some + i * kPanelDepth);
        }
        gradient_.multiply_panel({some, kPanelDepth}, panel_.get(), count, w.cols, n,
                                 to + t * w.cols, w.cols);
      }
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
