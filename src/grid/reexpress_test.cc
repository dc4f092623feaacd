#include "grid/reexpress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

constexpr int64_t kCols = 512;

const Grid& Named(std::string_view name) {
  const Grid* grid = FindGrid(name, kCols);
  EXPECT_NE(grid, nullptr) << name;
  return *grid;
}

// A row of heavy-tailed weights, rounded by the grid's own encoder.
std::vector<uint8_t> RowOn(const Grid& grid, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> weights(kCols);
  for (float& w : weights) {
    const float u = static_cast<float>(random() % 20001) / 10000.0f - 1;
    w = u * u * u * 0.3f + 0.01f;
  }
  std::vector<uint8_t> row(grid.RowBytes(kCols));
  grid.Encode(weights.data(), kCols, nullptr, row.data());
  return row;
}

std::vector<float> Decoded(const Grid& grid, const std::vector<uint8_t>& row) {
  std::vector<float> values(kCols);
  grid.Decode(row.data(), kCols, values.data());
  return values;
}

struct Result {
  bool done = false;
  std::vector<uint8_t> row;
};

Result Tried(const Grid& from, const Grid& to, const std::vector<uint8_t>& row) {
  Result result;
  if (!MayReexpress(from, to, kCols)) return result;
  result.row.resize(to.RowBytes(kCols));
  result.done = Reexpress(from, to, row.data(), kCols, result.row.data());
  return result;
}

std::vector<const Grid*> Writable() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (grid->writable() && grid->importance != Importance::kRequired) grids.push_back(grid);
  }
  for (const Grid* grid : UsualGroupedGrids()) grids.push_back(grid);
  for (const char* name : {"int8:row", "int4:row:asym", "int8:g64:bf16"}) {
    grids.push_back(&Named(name));
  }
  return grids;
}

// The type that a grid rounds its values to.
Real ValueOf(const Grid& grid) {
  return grid.grouped == nullptr ? Real::kF32 : grid.grouped->value;
}

// Whatever is called the same must be the same, but for the last rounding of what a grouped grid
// decodes to; and it must come back to the bytes that it was, where the source is no finer.
TEST(ReexpressTest, SaysTheSameOnEveryPairOfGrids) {
  int same = 0;
  for (const Grid* from : Writable()) {
    const std::vector<uint8_t> row = RowOn(*from, 5);
    const std::vector<float> values = Decoded(*from, row);
    for (const Grid* to : Writable()) {
      const Result result = Tried(*from, *to, row);
      if (!result.done) continue;
      SCOPED_TRACE(std::string(from->name) + " to " + std::string(to->name));
      ++same;
      const std::vector<float> again = Decoded(*to, result.row);
      for (int64_t i = 0; i < kCols; ++i) {
        const float a = RoundToReal(ValueOf(*to), values[i]);
        const float b = RoundToReal(ValueOf(*from), again[i]);
        // Rounded to one type and then to another is not always rounded to the other at once.
        const float step = std::fabs(a) * 0x1p-8f;
        const bool two = ValueOf(*from) != Real::kF32 && ValueOf(*to) != Real::kF32;
        if (two) {
          ASSERT_NEAR(a, b, step) << i;
        } else {
          ASSERT_EQ(a, b) << i;
        }
      }
    }
  }
  EXPECT_GT(same, 60);
}

TEST(ReexpressTest, ComesBackToTheByte) {
  for (const auto& [there, back] :
       {std::pair("int4:g128", "q4_0"), std::pair("int4:g32", "q4_0"),
        std::pair("int4:row", "q4_0"), std::pair("int8:g128", "q8_0"),
        std::pair("int8:row", "q8_0"), std::pair("int3:g64", "q4_0"), std::pair("int2:g64", "q5_0"),
        std::pair("q4_0", "int4:g32"), std::pair("q8_0", "int8:g32"), std::pair("q5_0", "int8:g32"),
        std::pair("int4:g128:asym", "int8:g128:asym"), std::pair("int4:g64", "int4:g64:asym"),
        std::pair("int4:g32:bf16", "int4:g32"), std::pair("bf16", "f32"),
        std::pair("f16", "f32")}) {
    SCOPED_TRACE(std::string(there) + " by way of " + back);
    const Grid &from = Named(there), &to = Named(back);
    const std::vector<uint8_t> row = RowOn(from, 11);
    const Result gone = Tried(from, to, row);
    ASSERT_TRUE(gone.done);
    const Result returned = Tried(to, from, gone.row);
    ASSERT_TRUE(returned.done);
    EXPECT_EQ(returned.row, row);
  }
}

// Zeros put codes into a range of 31 levels, which a grid of 5 bits has around zero.
TEST(ReexpressTest, AsymmetricIntegersFitTheNextWiderSymmetricGrid) {
  const Grid &from = Named("int4:g128:asym"), &to = Named("q5_0");
  const std::vector<uint8_t> row = RowOn(from, 3);
  const Result result = Tried(from, to, row);
  ASSERT_TRUE(result.done);
  const std::vector<float> again = Decoded(to, result.row);
  std::vector<uint8_t> codes(128);
  for (int64_t g = 0; g < kCols / 128; ++g) {
    const uint8_t* block = row.data() + g * from.bytes;
    const float scale = LoadF16(block);
    const int zero = block[2];
    UnpackGroupedCodes(from, block, codes.data());
    for (int e = 0; e < 128; ++e) {
      ASSERT_EQ(again[g * 128 + e], static_cast<float>(codes[e] - zero) * scale);
    }
  }
  EXPECT_FALSE(Tried(from, Named("q4_0"), row).done);
}

TEST(ReexpressTest, KeepsTheLowestByte) {
  const Grid &from = Named("int8:g32"), &to = Named("q8_0");
  std::vector<uint8_t> codes(32);
  for (int e = 0; e < 32; ++e) codes[e] = static_cast<uint8_t>(e * 8);
  std::vector<uint8_t> row(from.RowBytes(kCols));
  for (int64_t g = 0; g < kCols / 32; ++g) {
    PackGroupedBlock(from, 0.5f, 0, codes.data(), row.data() + g * from.bytes);
  }
  const Result result = Tried(from, to, row);
  ASSERT_TRUE(result.done);
  EXPECT_EQ(static_cast<int8_t>(result.row[2]), -128);
  EXPECT_EQ(Decoded(to, result.row)[0], -64.0f);
  EXPECT_EQ(Tried(to, from, result.row).row, row);
}

// Two blocks of 32 and two groups of 64, the second of which has two steps.
TEST(ReexpressTest, JoinsGroupsOfOneStepOnly) {
  const Grid &from = Named("q4_0"), &to = Named("int4:g64");
  std::vector<uint8_t> row = RowOn(from, 1);
  for (int64_t b = 0; b < kCols / 32; ++b) StoreF16(row.data() + b * from.bytes, -0.25f);
  EXPECT_TRUE(Tried(from, to, row).done) << "negative steps are as good as others";
  StoreF16(row.data() + 3 * from.bytes, 0.25f);
  EXPECT_FALSE(Tried(from, to, row).done);
  EXPECT_TRUE(Tried(from, Named("int4:g32"), row).done);
}

TEST(ReexpressTest, RefusesStepsThatTheTargetCannotStore) {
  const Grid& from = Named("int4:g32:bf16");
  std::vector<uint8_t> row = RowOn(from, 1);
  EXPECT_TRUE(Tried(from, Named("q4_0"), row).done);
  for (const float step : {0x1p17f, 0x1.02p-20f, std::nanf(""), INFINITY}) {
    std::vector<uint8_t> other = row;
    StoreLe(other.data(), F32ToBf16(step));
    EXPECT_FALSE(Tried(from, Named("q4_0"), other).done) << step;
  }
  // More digits than bf16 has.
  std::vector<uint8_t> fine = RowOn(Named("q4_0"), 1);
  StoreF16(fine.data(), 1 + 0x1p-9f);
  EXPECT_FALSE(Tried(Named("q4_0"), from, fine).done);
}

TEST(ReexpressTest, MovesByAMinimumThatIsAMultipleOfTheStep) {
  const Grid &from = Named("q4_1"), &to = Named("int4:g32:asym");
  std::vector<uint8_t> row = RowOn(from, 1);
  EXPECT_FALSE(Tried(from, to, row).done);
  for (int64_t b = 0; b < kCols / 32; ++b) {
    StoreF16(row.data() + b * from.bytes, 0.125f);
    StoreF16(row.data() + b * from.bytes + 2, -0.875f);  // seven steps
  }
  const Result result = Tried(from, to, row);
  ASSERT_TRUE(result.done);
  EXPECT_EQ(Decoded(to, result.row), Decoded(from, row));
  const Result back = Tried(to, from, result.row);
  ASSERT_TRUE(back.done);
  EXPECT_EQ(back.row, row);
}

TEST(ReexpressTest, NarrowsPlainNumbersWhereNothingIsLost) {
  std::vector<float> values(kCols, 1.5f);
  std::vector<uint8_t> row(kCols * 4);
  std::memcpy(row.data(), values.data(), row.size());
  EXPECT_TRUE(Tried(Named("f32"), Named("bf16"), row).done);
  EXPECT_TRUE(Tried(Named("f32"), Named("f16"), row).done);
  values[100] = 1 + 0x1p-9f;  // ten digits: f16 has eleven, bf16 eight
  std::memcpy(row.data(), values.data(), row.size());
  EXPECT_FALSE(Tried(Named("f32"), Named("bf16"), row).done);
  EXPECT_TRUE(Tried(Named("f32"), Named("f16"), row).done);
  values[100] = 1 + 0x1p-12f;
  std::memcpy(row.data(), values.data(), row.size());
  EXPECT_FALSE(Tried(Named("f32"), Named("f16"), row).done);
  // Wider than what they would be decoded to on the way.
  EXPECT_FALSE(MayReexpress(Named("f64"), Named("f32"), kCols));
}

}  // namespace
}  // namespace halftone
