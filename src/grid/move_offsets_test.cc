#include "grid/move_offsets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace halftone {
namespace {

constexpr int64_t kCols = 512;

std::vector<const Grid*> GridsWithOffsets() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (OffsetGroup(*grid) != 0) grids.push_back(grid);
  }
  return grids;
}

class MoveOffsetsTest : public testing::TestWithParam<const Grid*> {
 protected:
  MoveOffsetsTest() : grid_(*GetParam()), group_(OffsetGroup(grid_)) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<float> weights(kCols);
    for (float& w : weights) w = normal(random);
    row_.resize(grid_.RowBytes(kCols));
    grid_.Encode(weights.data(), kCols, nullptr, row_.data());
    by_.resize(static_cast<size_t>(kCols / group_));
    for (float& b : by_) b = 0.1f * normal(random);
  }

  std::vector<float> Decoded(const std::vector<uint8_t>& row) const {
    std::vector<float> values(kCols);
    grid_.Decode(row.data(), kCols, values.data());
    return values;
  }

  std::vector<uint8_t> Moved() const {
    std::vector<uint8_t> out(row_.size());
    MoveOffsets(grid_, row_.data(), kCols, by_, out.data());
    return out;
  }

  struct Parts {
    std::vector<uint8_t> codes;
    std::vector<BlockParameters> blocks;
  };

  Parts TakenApart(const std::vector<uint8_t>& row) const {
    Parts parts;
    parts.codes.resize(kCols);
    for (int64_t at = 0, b = 0; at < kCols; at += grid_.block, ++b) {
      parts.blocks.emplace_back();
      grid_.scalar->unpack(grid_, row.data() + b * grid_.bytes, parts.blocks.back(),
                           parts.codes.data() + at);
    }
    return parts;
  }

  const Grid& grid_;
  int64_t group_;
  std::vector<uint8_t> row_;
  std::vector<float> by_;  // of each group
};

TEST_P(MoveOffsetsTest, PacksWhatItUnpacks) {
  const Parts parts = TakenApart(row_);
  std::vector<uint8_t> again(row_.size());
  for (size_t b = 0; b < parts.blocks.size(); ++b) {
    grid_.scalar->pack(grid_, parts.blocks[b], parts.codes.data() + b * grid_.block,
                       again.data() + b * grid_.bytes);
  }
  EXPECT_EQ(again, row_);
}

TEST_P(MoveOffsetsTest, NothingMovesByZero) {
  std::ranges::fill(by_, 0.0f);
  EXPECT_EQ(Moved(), row_);
}

// The numbers that decoding gives are the judge; codes and scales must be what they were.
TEST_P(MoveOffsetsTest, MovesWeightsByWhatTheOffsetCanHold) {
  const std::vector<uint8_t> moved = Moved();
  const Parts before = TakenApart(row_), after = TakenApart(moved);
  EXPECT_EQ(after.codes, before.codes);
  const std::vector<float> was = Decoded(row_), is = Decoded(moved);
  for (int64_t e = 0; e < kCols; ++e) {
    const auto block = static_cast<size_t>(e / grid_.block);
    const BlockParameters& parameters = after.blocks[block];
    EXPECT_EQ(parameters.unit, before.blocks[block].unit);
    EXPECT_TRUE(std::ranges::equal(parameters.scale, before.blocks[block].scale));
    const double wanted = static_cast<double>(was[e]) + by_[e / group_];
    const double resolution = grid_.scalar->shift == ShiftKind::kOwn
                                  ? std::ldexp(std::fabs(parameters.shift_unit), -11)
                                  : parameters.shift_unit / 2;
    EXPECT_LE(std::fabs(is[e] - wanted), resolution * 1.001 + 1e-8) << e;
  }
}

// Weights that are all positive need an offset that formats which subtract do not have.
TEST_P(MoveOffsetsTest, EncodesAgainWhereOffsetsWouldBePositive) {
  std::ranges::fill(by_, 0.2f);
  const std::vector<float> was = Decoded(row_), is = Decoded(Moved());
  std::vector<float> wanted(was);
  for (float& w : wanted) w += 0.2f;
  std::vector<uint8_t> encoded(row_.size());
  grid_.Encode(wanted.data(), kCols, nullptr, encoded.data());
  const std::vector<float> again = Decoded(encoded);
  const auto error = [&](const std::vector<float>& values) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += std::pow(values[i] - wanted[i], 2.0);
    return sum;
  };
  EXPECT_LE(error(is), error(again));
}

INSTANTIATE_TEST_SUITE_P(Grids, MoveOffsetsTest, testing::ValuesIn(GridsWithOffsets()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(OffsetGroupTest, IsThatOfGridsWhoseGroupsHaveAnOffset) {
  std::vector<std::string> names;
  for (const Grid* grid : GridsWithOffsets()) names.emplace_back(grid->name);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"q2_k", "q4_1", "q4_k", "q5_1", "q5_k"}));
  EXPECT_EQ(OffsetGroup(*FindGrid("q2_k", kCols)), 16);
  EXPECT_EQ(OffsetGroup(*FindGrid("q4_k", kCols)), 32);
  EXPECT_EQ(OffsetGroup(*FindGrid("q4_0", kCols)), 0);
}

}  // namespace
}  // namespace halftone
