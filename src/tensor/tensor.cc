#include "tensor/tensor.h"

#include <fmt/format.h>

#include <utility>

namespace halftone {

int64_t Tensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

std::vector<float> Decode(const Tensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  tensor.grid->decode(tensor.data.data(), tensor.count(), values.data());
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
