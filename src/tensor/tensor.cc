#include "tensor/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/pages.h"

namespace halftone {

int64_t Tensor::rows() const {
  if (cols() == 0) return 0;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

Tensor Loaded(const Tensor& tensor) {
  ThreadPool pool(1);
  return Loaded(tensor, pool);
}

Tensor Loaded(const Tensor& tensor, ThreadPool& pool) {
  if (tensor.source == nullptr) return tensor;
  const std::shared_ptr<uint8_t[]> buffer = AllocatePages(tensor.bytes());
  const int64_t rows = tensor.rows();
  const int64_t pieces = std::min<int64_t>(rows, pool.threads() * 8);
  const uint64_t row_bytes = tensor.row_bytes();
  pool.For(pieces, [&](int64_t piece, int) {
    const int64_t begin = rows * piece / pieces, end = rows * (piece + 1) / pieces;
    tensor.source->Read(begin, end, buffer.get() + static_cast<uint64_t>(begin) * row_bytes);
  });
  Tensor loaded = tensor;
  loaded.source = nullptr;
  loaded.data = {buffer.get(), tensor.bytes()};
  loaded.owner = buffer;
  return loaded;
}

void DecodeRow(const Tensor& tensor, int64_t row, float* values) {
  const int64_t cols = tensor.cols();
  if (tensor.order == nullptr) return tensor.grid->Decode(tensor.row(row).data(), cols, values);
  std::vector<float> ordered(static_cast<size_t>(cols));
  tensor.grid->Decode(tensor.row(row).data(), cols, ordered.data());
  for (int64_t p = 0; p < cols; ++p) values[(*tensor.order)[p]] = ordered[p];
}

std::vector<float> Decode(const Tensor& tensor) {
  const Tensor loaded = Loaded(tensor);
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    DecodeRow(loaded, r, values.data() + r * tensor.cols());
  }
  return values;
}

Tensor MakeTensor(std::string name, const Grid& grid, std::vector<int64_t> shape,
                  std::vector<uint8_t> data) {
  auto buffer = std::make_shared<const std::vector<uint8_t>>(std::move(data));
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.grid = &grid;
  tensor.shape = std::move(shape);
  tensor.data = *buffer;
  tensor.owner = buffer;
  return tensor;
}

Tensor MakeF32Tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  return MakeTensor(std::move(name), F32Grid(), std::move(shape),
                    std::vector<uint8_t>(bytes, bytes + values.size_bytes()));
}

}  // namespace halftone
