// The face for methods with feedback: what pack() writes is what decode() reads.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "grid/grid.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

std::vector<const Grid*> ScalarGrids() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (grid->scalar != nullptr) grids.push_back(grid);
  }
  for (const Grid* grid : UsualGroupedGrids()) grids.push_back(grid);
  for (const char* row : {"int8:row", "int4:row:asym", "fp8:row:bf16", "int8:row:absmax:f32"}) {
    grids.push_back(FindGrid(row, 96));
  }
  return grids;
}

class ScalarTest : public testing::TestWithParam<const Grid*> {};

TEST_P(ScalarTest, DecodesToTheLevelsThatWerePacked) {
  const Grid& grid = *GetParam();
  const ScalarGrid& scalar = *grid.scalar;
  ASSERT_EQ(grid.block % scalar.group, 0);
  const int groups = grid.block / scalar.group;
  ASSERT_LE(groups, kMaxGroups);
  std::mt19937 random(7);
  const auto between = [&](int low, int high) {
    return static_cast<int>(random() % static_cast<unsigned>(high - low + 1)) + low;
  };
  for (int trial = 0; trial < 300; ++trial) {
    BlockParameters parameters;
    // Powers of two times 11 bits: exact in every stored type but bf16.
    parameters.unit = std::ldexp(static_cast<float>(between(1, 127)), -9);
    if (scalar.signed_unit && trial % 2 == 1) parameters.unit = -parameters.unit;
    if (scalar.shift == ShiftKind::kOwn || scalar.shift == ShiftKind::kMultiple) {
      parameters.shift_unit = std::ldexp(static_cast<float>(between(0, 127)), -9);
    }
    for (int g = 0; g < groups; ++g) {
      parameters.scale[g] = static_cast<int16_t>(between(scalar.scale_low, scalar.scale_high));
      parameters.shift[g] = static_cast<int16_t>(between(0, scalar.shift_high));
    }
    std::vector<uint8_t> codes(static_cast<size_t>(grid.block)), block(grid.bytes);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(between(0, scalar.count - 1));
    scalar.pack(grid, parameters, codes.data(), block.data());
    std::vector<float> weights(codes.size());
    grid.Decode(block.data(), grid.block, weights.data());
    for (int e = 0; e < grid.block; ++e) {
      const int g = e / scalar.group;
      const double step = scalar.step == StepKind::kMultiple
                              ? static_cast<double>(parameters.unit) * parameters.scale[g]
                              : parameters.unit;
      const double level =
          scalar.levels.empty() ? scalar.first + codes[e] : scalar.levels[codes[e]];
      double shift = 0;
      if (scalar.shift == ShiftKind::kOwn) shift = parameters.shift_unit;
      if (scalar.shift == ShiftKind::kMultiple) {
        shift = -static_cast<double>(parameters.shift_unit) * parameters.shift[g];
      }
      if (scalar.shift == ShiftKind::kZero) shift = -step * parameters.shift[g];
      const double expected = step * level + shift;
      // Grids of half-precision values round the product; rows of bitsandbytes' int8 multiply by
      // 1/127 once more.
      const double tolerance =
          grid.grouped != nullptr && grid.grouped->value != Real::kF32 ? 1.0 / 256 : 1e-6;
      ASSERT_NEAR(weights[e], expected, tolerance * std::max(1e-3, std::fabs(expected)))
          << grid.name << " weight " << e;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ScalarTest, testing::ValuesIn(ScalarGrids()), [](const auto& info) {
  std::string name(info.param->name);
  for (char& c : name) c = c == ':' ? '_' : c;
  return name;
});

TEST(GroupedTest, NamesGoBothWays) {
  for (const Grid* grid : UsualGroupedGrids()) {
    const auto spec = ParseGroupedName(grid->name);
    ASSERT_TRUE(spec) << grid->name;
    EXPECT_EQ(GroupedName(*spec), grid->name);
    EXPECT_EQ(&GroupedGrid(*spec, 0), grid);
  }
  for (const char* wrong : {"int5:g128", "int4:g", "int4:g0", "int4:g-1", "int4:gx", "int4:odd",
                            "nf4:asym", "q4_0", "", ":", "int4:f16:f16:f16"}) {
    EXPECT_FALSE(ParseGroupedName(wrong)) << wrong;
  }
  EXPECT_EQ(FindGrid("int4:row"), nullptr);  // of what length?
  ASSERT_NE(FindGrid("int4:row", 96), nullptr);
  EXPECT_EQ(FindGrid("int4:row", 96)->block, 96);
}

// The published sizes: 4.125 bits for f16 scales, 4.1875 with a byte of zero, 4.5 for f32.
TEST(GroupedTest, BitsPerWeight) {
  EXPECT_DOUBLE_EQ(GridNamed("int4:g128").bits_per_weight(), 4.125);
  EXPECT_DOUBLE_EQ(GridNamed("int4:g128:asym").bits_per_weight(), 4.1875);
  EXPECT_DOUBLE_EQ(GridNamed("nf4:g64").bits_per_weight(), 4.5);
}

// Values from the OCP 8-bit floating point specification, table 2: largest 448, smallest normal
// 2^-6, smallest subnormal 2^-9.
TEST(GroupedTest, Fp8Levels) {
  const auto levels = LevelsOfCodes(GridNamed("fp8:g128"));
  EXPECT_EQ(levels[0x7E], 448);
  EXPECT_EQ(levels[0x08], std::ldexp(1.0f, -6));
  EXPECT_EQ(levels[0x01], std::ldexp(1.0f, -9));
  EXPECT_EQ(levels[0xC0], -2);
}

}  // namespace
}  // namespace halftone
