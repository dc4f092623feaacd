#include "kernel/cpu/cpu_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string_view>

#include "base/checked.h"
#include "base/error.h"
#include "grid/grouped.h"
#include "kernel/cpu/aligned.h"

namespace halftone {
namespace {

// Elementwise work below this many floats stays on the calling thread.
constexpr int64_t kSplitFloats = 16384;

// Floats of decoded weights that stay in a core's second-level cache beside the activations.
constexpr int64_t kPanelFloats = 96 << 10;

// Rows that are decoded at once for few tokens: what the product's inner loop takes together.
constexpr int64_t kStripRows = 8;

// Tokens that a panel multiplies before it moves on: their blocks stay in the second-level cache.
constexpr int64_t kTokenBlock = 512;
// Floats of scratch for a panel, before the sums of its tokens.
constexpr auto kPanelScratch = static_cast<int64_t>(sizeof(Panel) / sizeof(float));

constexpr int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

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

struct CpuCache : KvCache {
  AttentionShape shape;
  const Grid* grid = nullptr;
  const CacheStorage* storage = nullptr;
  int64_t tile_bytes = 0;
  int64_t head_bytes = 0;         // of one head's keys, or values
  std::shared_ptr<float[]> keys;  // bytes [layers, kv_heads, tiles, tile_bytes]
  std::shared_ptr<float[]> values;

  uint8_t* Part(const std::shared_ptr<float[]>& part, int64_t layer, int64_t head) const {
    return reinterpret_cast<uint8_t*>(part.get()) + (layer * shape.kv_heads + head) * head_bytes;
  }
  HeadCache Head(int64_t layer, int64_t head) const {
    return {storage, Part(keys, layer, head), Part(values, layer, head)};
  }

  // Stores one token's key and value of one head.
  void Store(int64_t layer, int64_t head, int64_t position, const float* key, const float* value) {
    const int64_t tile = position / kCacheTile * tile_bytes;
    storage->store(*grid, key, value, shape.head_dim, position % kCacheTile,
                   Part(keys, layer, head) + tile, Part(values, layer, head) + tile);
  }
};

CpuCache& Cache(const TokenRun& run) { return static_cast<CpuCache&>(*run.cache); }

// How a run's rows are shared out: a piece is a block of its tokens for some heads of a group.
struct AttentionPieces {
  int64_t together;  // heads
  int64_t groups;    // of so many heads
  int64_t block;     // tokens
  int64_t count;     // pieces of the run: blocks * groups
};

}  // namespace

CpuOps::CpuOps(int threads, Isa isa, Activations activations)
    : pool_(threads),
      isa_(isa),
      vector_(VectorOpsFor(isa)),
      attention_(AttentionOpsFor(isa)),
      int8_(Int8OpsFor(isa)),
      rounded_(activations == Activations::kInt8 && HasRoundedOps(isa) ? &RoundedOpsFor(isa)
                                                                       : nullptr) {}

template <class Body>
void CpuOps::Split(int64_t n, int64_t unit, int64_t work, Body&& body) {
  const int64_t units = (n + unit - 1) / unit;
  if (threads() == 1 || work < kSplitFloats || units < 2) {
    if (n > 0) body(0, n, 0);
    return;
  }
  const int64_t pieces = std::min<int64_t>(units, threads() * 4);
  pool_.For(pieces, [&](int64_t piece, int thread) {
    const int64_t begin = units * piece / pieces * unit;
    const int64_t end = std::min(n, units * (piece + 1) / pieces * unit);
    body(begin, end, thread);
  });
}

void CpuOps::ReserveScratch(int64_t floats) {
  floats = RoundUp(floats, 16);
  if (floats <= scratch_floats_) return;
  scratch_ = AllocateAligned(floats * threads());
  scratch_floats_ = floats;
}

std::shared_ptr<float[]> CpuOps::Allocate(int64_t n) { return AllocateAligned(n); }

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
        for (int plane = 0; plane < kernels.form.planes; ++plane) {
          kernels.unpack(*w.tensor.grid, data + r * row_bytes, row_bytes, count, s, w.cols, plane,
                         panel);
          rounded_->multiply(panel, kernels.form, columns, blocks + s * tokens + t0, n,
                             s == 0 && plane == 0, sums);
        }
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

void CpuOps::RmsNorm(const float* x, const float* weight, float eps, int64_t tokens, int64_t width,
                     float* y) {
  Split(tokens, 1, tokens * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      vector_.rms_norm(x + t * width, weight, eps, width, y + t * width);
    }
  });
}

const CpuOps::RopeTable& CpuOps::TableFor(std::span<const float> inverse_frequency,
                                          std::span<const int64_t> positions) {
  for (const RopeTable& table : rope_tables_) {
    if (std::ranges::equal(table.positions, positions) &&
        std::ranges::equal(table.inverse_frequency, inverse_frequency)) {
      return table;
    }
  }
  RopeTable& table = rope_tables_[oldest_rope_table_];
  oldest_rope_table_ = (oldest_rope_table_ + 1) % rope_tables_.size();
  const auto pairs = static_cast<int64_t>(inverse_frequency.size());
  table.inverse_frequency.assign(inverse_frequency.begin(), inverse_frequency.end());
  table.positions.assign(positions.begin(), positions.end());
  const auto tokens = static_cast<int64_t>(positions.size());
  table.cosines.resize(tokens * pairs);
  table.sines.resize(tokens * pairs);
  // A sine costs as much as dozens of multiply-adds.
  Split(tokens, 1, tokens * pairs * 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < pairs; ++i) {
        const float angle = static_cast<float>(positions[t]) * inverse_frequency[i];
        // The f64 functions of the f32 angle, rounded, are torch's f32 ones within one ulp.
        table.cosines[t * pairs + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
        table.sines[t * pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    }
  });
  return table;
}

void CpuOps::Rope(float* x, std::span<const int64_t> positions, int64_t heads, int64_t head_dim,
                  RopeStyle style, std::span<const float> inverse_frequency) {
  const RopeTable& table = TableFor(inverse_frequency, positions);
  const auto tokens = static_cast<int64_t>(positions.size());
  const auto pairs = static_cast<int64_t>(inverse_frequency.size());
  const auto rotate =
      style == RopeStyle::kInterleaved ? vector_.rotate_interleaved : vector_.rotate_halves;
  Split(tokens, 1, tokens * heads * head_dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        rotate(x + (t * heads + h) * head_dim, &table.cosines[t * pairs], &table.sines[t * pairs],
               pairs);
      }
    }
  });
}

std::unique_ptr<KvCache> CpuOps::MakeCache(const AttentionShape& shape, const Grid& grid) {
  auto cache = std::make_unique<CpuCache>();
  cache->shape = shape;
  cache->grid = &grid;
  cache->storage = attention_.StorageFor(grid);
  if (cache->storage == nullptr) {
    std::vector<std::string_view> names;
    for (const Grid* possible : CacheGrids()) names.push_back(possible->name);
    FailUsage("keys and values can be on the grids {}, not on {}", fmt::join(names, ", "),
              grid.name);
  }
  const int64_t padded = cache->storage->padded(shape.head_dim);
  cache->tile_bytes = cache->storage->tile_bytes(padded);
  const int64_t positions = RoundUp(std::max<int64_t>(shape.context, 1), kAttentionChunk);
  const auto head_bytes = CheckedMul(static_cast<uint64_t>(positions / kCacheTile),
                                     static_cast<uint64_t>(cache->tile_bytes));
  const auto heads =
      CheckedMul(static_cast<uint64_t>(shape.layers), static_cast<uint64_t>(shape.kv_heads));
  const auto bytes = heads && head_bytes ? CheckedMul(*heads, *head_bytes) : std::nullopt;
  if (!bytes || *bytes > INT64_MAX / 2) {
    FailUsage("a cache for {} positions is larger than any memory", shape.context);
  }
  cache->head_bytes = static_cast<int64_t>(*head_bytes);
  cache->bytes = 2 * *bytes;
  const auto floats = static_cast<int64_t>(*bytes / sizeof(float));  // tiles are whole floats
  cache->keys = AllocateAligned(floats);
  cache->values = AllocateAligned(floats);
  ReserveScratch(AttentionScratch(padded));
  return cache;
}

std::vector<const Grid*> CacheGrids() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (AttentionOpsFor(Isa::kScalar).StorageFor(*grid) != nullptr) grids.push_back(grid);
  }
  std::ranges::stable_sort(grids, std::greater<>(), &Grid::bits_per_weight);
  return grids;
}

int64_t CpuOps::HeadsTogether(const AttentionShape& shape, int64_t passes) const {
  int64_t together = std::min(kMaxQueries, shape.heads / shape.kv_heads);
  while (shape.heads / shape.kv_heads % together != 0) --together;
  // Larger pieces must still give all threads the same to do.
  const int64_t pieces = passes * shape.heads / together;
  return pieces % threads() == 0 || pieces >= 4 * threads() ? together : 1;
}

void CpuOps::StoreKeysAndValues(std::span<const TokenRun> runs, int64_t layer, const float* k,
                                const float* v) {
  const AttentionShape& shape = Cache(runs.front()).shape;
  const int64_t dim = shape.head_dim, heads = shape.kv_heads;
  int64_t tokens = 0;
  for (const TokenRun& run : runs) tokens += run.tokens;
  const auto pieces = static_cast<int64_t>(runs.size()) * heads;  // a head of a run
  Split(pieces, 1, tokens * heads * dim, [&](int64_t begin, int64_t end, int) {
    int64_t first = 0;  // token of the run
    for (int64_t r = 0; r * heads < end; first += runs[r++].tokens) {
      CpuCache& cache = Cache(runs[r]);
      for (int64_t t = 0; t < runs[r].tokens; ++t) {
        for (int64_t h = std::max<int64_t>(0, begin - r * heads);
             h < std::min(heads, end - r * heads); ++h) {
          const int64_t at = ((first + t) * heads + h) * dim;
          cache.Store(layer, h, runs[r].position + t, k + at, v + at);
        }
      }
    }
  });
}

void CpuOps::Attention(std::span<const TokenRun> runs, int64_t layer, const float* q,
                       const float* k, const float* v, float scale, float* out) {
  if (runs.empty()) return;
  StoreKeysAndValues(runs, layer, k, v);
  const AttentionShape& shape = Cache(runs.front()).shape;
  const int64_t dim = shape.head_dim;
  // A row is a token of a head. Rows that share a key-value head share its loads: neighbouring
  // tokens of one head, or, where a run has few tokens, the heads of one group.
  const int64_t some = HeadsTogether(shape, static_cast<int64_t>(runs.size()));
  const auto pieces_of = [&](const TokenRun& run) {
    AttentionPieces pieces;
    pieces.together = run.tokens < kRowsAtOnce ? some : 1;
    pieces.groups = shape.heads / pieces.together;
    pieces.block = kMaxQueries / pieces.together;
    pieces.count = (run.tokens + pieces.block - 1) / pieces.block * pieces.groups;
    return pieces;
  };
  int64_t count = 0, work = 0;
  for (const TokenRun& run : runs) {
    count += pieces_of(run).count;
    work += run.tokens * shape.heads * dim * (run.position + run.tokens);
  }
  Split(count, 1, work, [&](int64_t begin, int64_t end, int thread) {
    int64_t base = 0, offset = 0;  // the run's first piece, and where its rows begin
    for (const TokenRun& run : runs) {
      const AttentionPieces pieces = pieces_of(run);
      const int64_t last = std::min(end - base, pieces.count);
      for (int64_t piece = std::max<int64_t>(0, begin - base); piece < last; ++piece) {
        const int64_t head = piece % pieces.groups * pieces.together;
        const int64_t from = piece / pieces.groups * pieces.block;
        Query queries[kMaxQueries];
        int64_t rows = 0;
        for (int64_t t = from; t < std::min(run.tokens, from + pieces.block); ++t) {
          for (int64_t h = head; h < head + pieces.together; ++h) {
            const int64_t at = offset + (t * shape.heads + h) * dim;
            queries[rows++] = {q + at, out + at, run.position + t + 1};
          }
        }
        attention_.attend(Cache(run).Head(layer, head * shape.kv_heads / shape.heads), queries,
                          rows, dim, scale, Scratch(thread));
      }
      base += pieces.count;
      offset += run.tokens * shape.heads * dim;
    }
  });
}

void CpuOps::Add(float* x, const float* y, int64_t n) {
  Split(n, 16, n,
        [&](int64_t begin, int64_t end, int) { vector_.add(x + begin, y + begin, end - begin); });
}

void CpuOps::AddBias(float* x, const float* bias, int64_t tokens, int64_t width) {
  Split(tokens, 1, tokens * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) vector_.add(x + t * width, bias, width);
  });
}

const float* CpuOps::Turn(const float* x, int64_t tokens, int64_t cols,
                          std::vector<float>& turned) {
  constexpr int64_t kTile = 16;
  turned.resize(static_cast<size_t>(tokens * cols));
  Split(cols, kTile, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t0 = 0; t0 < tokens; t0 += kTile) {
      const int64_t t1 = std::min(tokens, t0 + kTile);
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t t = t0; t < t1; ++t) turned[i * tokens + t] = x[t * cols + i];
      }
    }
  });
  return turned.data();
}

void CpuOps::AddOuterProducts(const float* a, const float* b, int64_t tokens, int64_t cols,
                              double* sum) {
  // Tiles of the result; with columns as rows each is a product like any other.
  constexpr int64_t kTile = 96;
  const float* left = Turn(a, tokens, cols, turned_left_);
  const float* right = a == b ? left : Turn(b, tokens, cols, turned_right_);
  ReserveScratch(kTile * kTile);
  const int64_t tiles = (cols + kTile - 1) / kTile;
  pool_.For(tiles * tiles, [&](int64_t tile, int thread) {
    const int64_t i0 = tile / tiles * kTile, j0 = tile % tiles * kTile;
    if (a == b && j0 > i0) return;
    const int64_t height = std::min(kTile, cols - i0), width = std::min(kTile, cols - j0);
    float* product = Scratch(thread);
    vector_.dot_panel(right + j0 * tokens, tokens, width, left + i0 * tokens, tokens, height,
                      tokens, product, width);
    for (int64_t i = 0; i < height; ++i) {
      double* row = sum + (i0 + i) * cols + j0;
      for (int64_t j = 0; j < width; ++j) row[j] += product[i * width + j];
    }
  });
}

void CpuOps::SiluMultiply(float* gate, const float* up, int64_t n) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    vector_.silu_multiply(gate + begin, up + begin, end - begin);
  });
}

std::unique_ptr<Ops> MakeCpuOps(int threads, Activations activations) {
  return std::make_unique<CpuOps>(threads, ChooseIsa(), activations);
}

}  // namespace halftone
