#include "tensor/composed.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <vector>

namespace halftone {
namespace {

// [rows, cols] of 0, 1, 2, ...
Tensor Counting(int64_t rows, int64_t cols, float from = 0) {
  std::vector<float> values(static_cast<size_t>(rows * cols));
  std::iota(values.begin(), values.end(), from);
  return MakeF32Tensor("counting", {rows, cols}, values);
}

// The same, read when it is asked for.
Tensor Lazy(int64_t rows, int64_t cols, float from) {
  class Source : public RowSource {
   public:
    explicit Source(Tensor tensor) : tensor_(std::move(tensor)) {}
    void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
      for (int64_t r = begin; r < end; ++r) {
        blocks = std::ranges::copy(tensor_.row(r), blocks).out;
      }
    }

   private:
    Tensor tensor_;
  };
  Tensor lazy = Counting(rows, cols, from);
  lazy.source = std::make_shared<Source>(lazy);
  lazy.data = {};
  lazy.owner = nullptr;
  return lazy;
}

std::vector<float> Numbers(float from, size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), from);
  return values;
}

TEST(ComposedTest, RowsOfATensor) {
  for (const Tensor& whole : {Counting(7, 3), Lazy(7, 3, 0)}) {
    const Tensor rows = RowsOf(whole, "part", 2, 4);
    EXPECT_EQ(rows.name, "part");
    EXPECT_EQ(rows.shape, (std::vector<int64_t>{4, 3}));
    EXPECT_EQ(Decode(rows), Numbers(6, 12));
    EXPECT_EQ(Decode(RowsOf(rows, "less", 1, 1)), Numbers(9, 3));
  }
  const Tensor vector = MakeF32Tensor("bias", {5}, Numbers(0, 5));
  EXPECT_EQ(Decode(RowsOf(vector, "part", 3, 2)), Numbers(3, 2));
  EXPECT_EQ(RowsOf(vector, "part", 3, 2).shape, (std::vector<int64_t>{2}));
}

TEST(ComposedTest, RowsKeepTheirBlocksAndTheOrderOfColumns) {
  const Grid& grid = GridNamed("q8_0");
  std::vector<uint8_t> bytes(4 * grid.RowBytes(64));
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  Tensor whole = MakeTensor("w", grid, {4, 64}, bytes);
  whole.order = std::make_shared<std::vector<int32_t>>(64);
  const Tensor rows = RowsOf(whole, "w", 1, 2);
  EXPECT_EQ(rows.grid, &grid);
  EXPECT_EQ(rows.order, whole.order);
  EXPECT_EQ(rows.data.data(), whole.data.data() + grid.RowBytes(64)) << "nothing is copied";
  EXPECT_EQ(rows.data.size(), 2 * grid.RowBytes(64));
}

TEST(ComposedTest, StacksParts) {
  const Tensor stack = Stacked("stack", {Counting(2, 3), Lazy(2, 3, 6), Counting(2, 3, 12)});
  EXPECT_EQ(stack.shape, (std::vector<int64_t>{3, 2, 3}));
  EXPECT_EQ(Decode(stack), Numbers(0, 18));
  // Rows that lie across a border.
  EXPECT_EQ(Decode(RowsOf(stack, "part", 1, 4)), Numbers(3, 12));
}

TEST(ComposedTest, ShiftsValues) {
  const std::vector<float> values = {-0.5f, 0, 0.25f};
  const Grid& half = GridNamed("bf16");
  std::vector<uint8_t> bytes(half.RowBytes(3));
  half.Encode(values.data(), 3, nullptr, bytes.data());
  const Tensor shifted = Shifted(MakeTensor("norm", half, {3}, bytes), 1);
  EXPECT_EQ(shifted.grid, &F32Grid());
  EXPECT_EQ(shifted.shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(Decode(shifted), (std::vector<float>{0.5f, 1, 1.25f}));
  EXPECT_EQ(Decode(Shifted(shifted, -1)), values);
}

}  // namespace
}  // namespace halftone
