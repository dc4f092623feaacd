// A tensor: numbers on a grid, with a name and a shape, lying somewhere in memory.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "grid/grid.h"

namespace halftone {

// Puts rows of blocks together from a file that keeps codes, scales and zeros apart.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // The blocks of rows [begin, end). May be called by several threads at once. Throws Error for
  // what the file's data themselves break.
  virtual void Read(int64_t begin, int64_t end, uint8_t* blocks) const = 0;
};

struct Tensor {
  std::string name;
  const Grid* grid = nullptr;
  // Outermost dimension first, as in Hugging Face files: a linear layer is [out, in]. The last
  // dimension is contiguous and a multiple of grid->block. An empty shape is a scalar.
  std::vector<int64_t> shape;
  // Row after row of blocks; shape and grid give its exact size. Read-only. Empty where `source`
  // makes them (Loaded, below).
  std::span<const uint8_t> data;
  // Keeps `data` alive: the mapped file or a buffer.
  std::shared_ptr<const void> owner;
  std::shared_ptr<const RowSource> source;
  // GPTQ's act-order: position p of a row's blocks holds column order[p]. Null: p.
  std::shared_ptr<const std::vector<int32_t>> order;

  int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  // The product of all dimensions but the last; 0 where a row would be empty, since a file may claim
  // 2^62 of those without a byte of data.
  int64_t rows() const;
  int64_t count() const { return rows() * cols(); }
  uint64_t row_bytes() const { return grid->RowBytes(cols()); }
  uint64_t bytes() const { return static_cast<uint64_t>(rows()) * row_bytes(); }
  std::span<const uint8_t> row(int64_t r) const {
    return data.subspan(static_cast<uint64_t>(r) * row_bytes(), row_bytes());
  }
};

// "[576, 49152]".
std::string ShapeText(std::span<const int64_t> shape);

// The tensor with its blocks in `data`: itself, or a copy that was read from its source.
Tensor Loaded(const Tensor& tensor);
Tensor Loaded(const Tensor& tensor, ThreadPool& pool);

// One row as f32, columns in their order. The tensor must have its data.
void DecodeRow(const Tensor& tensor, int64_t row, float* values);

// All values as f32, row-major.
std::vector<float> Decode(const Tensor& tensor);

// A tensor that owns its bytes.
Tensor MakeTensor(std::string name, const Grid& grid, std::vector<int64_t> shape,
                  std::vector<uint8_t> data);

// A tensor of plain f32 values.
Tensor MakeF32Tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values);

}  // namespace halftone
