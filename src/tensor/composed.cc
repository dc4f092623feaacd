#include "tensor/composed.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace halftone {
namespace {

// Copies rows from where they lie, or from their own source.
void ReadRows(const Tensor& tensor, int64_t begin, int64_t end, uint8_t* blocks) {
  if (tensor.source != nullptr) return tensor.source->Read(begin, end, blocks);
  const uint64_t row = tensor.row_bytes();
  std::memcpy(blocks, tensor.data.data() + static_cast<uint64_t>(begin) * row,
              static_cast<uint64_t>(end - begin) * row);
}

class SomeRows : public RowSource {
 public:
  SomeRows(std::shared_ptr<const RowSource> source, int64_t first)
      : source_(std::move(source)), first_(first) {}
  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    source_->Read(first_ + begin, first_ + end, blocks);
  }

 private:
  std::shared_ptr<const RowSource> source_;
  int64_t first_;
};

class RowsOfStack : public RowSource {
 public:
  explicit RowsOfStack(std::vector<Tensor> parts) : parts_(std::move(parts)) {}
  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t rows = parts_[0].rows();
    while (begin < end) {
      const int64_t from = begin % rows, to = std::min(rows, from + end - begin);
      ReadRows(parts_[static_cast<size_t>(begin / rows)], from, to, blocks);
      blocks += static_cast<uint64_t>(to - from) * parts_[0].row_bytes();
      begin += to - from;
    }
  }

 private:
  std::vector<Tensor> parts_;
};

class ShiftedRows : public RowSource {
 public:
  ShiftedRows(Tensor tensor, float offset) : tensor_(std::move(tensor)), offset_(offset) {}
  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = tensor_.cols();
    std::vector<uint8_t> read(tensor_.row_bytes());
    std::vector<float> values(static_cast<size_t>(cols));
    for (int64_t row = begin; row < end; ++row) {
      ReadRows(tensor_, row, row + 1, read.data());
      tensor_.grid->Decode(read.data(), cols, values.data());
      // Zero keeps its sign where nothing is added.
      if (offset_ != 0) {
        for (float& value : values) value += offset_;
      }
      std::memcpy(blocks, values.data(), values.size() * sizeof(float));
      blocks += values.size() * sizeof(float);
    }
  }

 private:
  Tensor tensor_;
  float offset_;
};

}  // namespace

Tensor RowsOf(const Tensor& tensor, std::string name, int64_t first, int64_t rows) {
  Tensor part = tensor;
  part.name = std::move(name);
  const bool vector = tensor.shape.size() == 1;
  part.shape = vector ? std::vector<int64_t>{rows} : std::vector<int64_t>{rows, tensor.cols()};
  if (vector && first == 0 && rows == tensor.cols()) return part;
  if (vector) {
    const std::vector<float> values = Decode(tensor);
    return MakeF32Tensor(
        part.name, part.shape,
        std::span(values).subspan(static_cast<size_t>(first), static_cast<size_t>(rows)));
  }
  if (tensor.source != nullptr) {
    part.source = std::make_shared<SomeRows>(tensor.source, first);
  } else {
    const uint64_t row = tensor.row_bytes();
    part.data =
        tensor.data.subspan(static_cast<uint64_t>(first) * row, static_cast<uint64_t>(rows) * row);
  }
  return part;
}

Tensor Stacked(std::string name, const std::vector<Tensor>& parts) {
  Tensor stack;
  stack.name = std::move(name);
  stack.grid = parts[0].grid;
  stack.shape = parts[0].shape;
  stack.shape.insert(stack.shape.begin(), static_cast<int64_t>(parts.size()));
  stack.source = std::make_shared<RowsOfStack>(parts);
  return stack;
}

Tensor Shifted(const Tensor& tensor, float offset) {
  Tensor shifted;
  shifted.name = tensor.name;
  shifted.grid = &F32Grid();
  shifted.shape = tensor.shape;
  shifted.source = std::make_shared<ShiftedRows>(tensor, offset);
  return shifted;
}

}  // namespace halftone
