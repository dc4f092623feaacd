// What every grid promises, for all lines of the table.

#include "grid/grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/half.h"
#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

class GridTest : public testing::TestWithParam<const Grid*> {
 protected:
  const Grid& grid_ = *GetParam();

  std::vector<uint8_t> Encode(const std::vector<float>& row, const float* importance,
                              uint8_t fill = 0) const {
    std::vector<uint8_t> blocks(grid_.RowBytes(std::ssize(row)), fill);
    grid_.Encode(row.data(), std::ssize(row), importance, blocks.data());
    return blocks;
  }

  std::vector<float> Decode(const std::vector<uint8_t>& blocks) const {
    std::vector<float> row(blocks.size() / grid_.bytes * grid_.block);
    grid_.Decode(blocks.data(), std::ssize(row), row.data());
    return row;
  }

  // A whole number of blocks, at least 1024 weights.
  int64_t Columns() const { return (1023 / grid_.block + 1) * static_cast<int64_t>(grid_.block); }
};

// What follows holds for some grids only, by what they are and not by what runs them.
class WritableGridTest : public GridTest {};
class AffineGridTest : public GridTest {};
class CodebookGridTest : public GridTest {};
class WeighableGridTest : public GridTest {};

std::vector<float> NormalRow(int64_t n, uint32_t seed, float deviation = 0.02f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> row(n);
  for (float& w : row) w = normal(random);
  return row;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b,
                    const std::vector<float>* importance = nullptr) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    sum += d * d * (importance != nullptr ? (*importance)[i] : 1.0f);
  }
  return sum;
}

TEST(GridTableTest, NamesAndTypeIdsAreUnique) {
  std::set<std::string_view> names;
  std::set<int> types;
  for (const Grid* grid : AllGrids()) {
    EXPECT_TRUE(names.insert(grid->name).second) << grid->name;
    if (grid->gguf_type >= 0) {
      EXPECT_TRUE(types.insert(grid->gguf_type).second) << grid->name;
      EXPECT_EQ(FindGridByGgufType(grid->gguf_type), grid);
    }
    EXPECT_EQ(FindGrid(grid->name), grid);
    EXPECT_EQ(&GridNamed(grid->name), grid);
  }
  EXPECT_EQ(FindGrid("q4"), nullptr);
  EXPECT_EQ(FindGridByGgufType(-1), nullptr);
  EXPECT_EQ(FindGridByGgufType(4), nullptr) << "an id that was withdrawn";
  ExpectError(Error::Kind::kUsage, "did you mean 'q4_0'", [] { GridNamed("q40"); });
}

// ggml's types that may appear in files: id, weights and bytes of a block.
TEST(GridTableTest, HoldsAllTypesOfGguf) {
  const std::map<int, std::pair<int, int>> types = {
      {0, {1, 4}},      {1, {1, 2}},      {2, {32, 18}},    {3, {32, 20}},    {6, {32, 22}},
      {7, {32, 24}},    {8, {32, 34}},    {10, {256, 84}},  {11, {256, 110}}, {12, {256, 144}},
      {13, {256, 176}}, {14, {256, 210}}, {16, {256, 66}},  {17, {256, 74}},  {18, {256, 98}},
      {19, {256, 50}},  {20, {32, 18}},   {21, {256, 110}}, {22, {256, 82}},  {23, {256, 136}},
      {24, {1, 1}},     {25, {1, 2}},     {26, {1, 4}},     {27, {1, 8}},     {28, {1, 8}},
      {29, {256, 56}},  {30, {1, 2}},     {34, {256, 54}},  {35, {256, 66}},  {39, {32, 17}},
      {40, {64, 36}},   {41, {128, 18}},  {42, {64, 18}}};
  for (const auto& [type, block] : types) {
    const Grid* grid = FindGridByGgufType(type);
    ASSERT_NE(grid, nullptr) << type;
    EXPECT_EQ(grid->block, block.first) << grid->name;
    EXPECT_EQ(grid->bytes, block.second) << grid->name;
    EXPECT_EQ(grid->RowBytes(3 * grid->block), 3u * grid->bytes);
  }
}

TEST_P(GridTest, PropertiesAgreeWithOneAnother) {
  std::string lower(grid_.title);
  std::ranges::transform(lower, lower.begin(), [](char c) { return std::tolower(c); });
  EXPECT_EQ(lower, grid_.name);
  EXPECT_GT(grid_.block, 0);
  EXPECT_GT(grid_.bytes, 0);
  EXPECT_NE(grid_.decode, nullptr);
  if (grid_.affine.bits != 0) {
    EXPECT_TRUE(grid_.codebook.empty());
    EXPECT_EQ(grid_.block % grid_.affine.group, 0);
    // Codes fit, and beside them there is little room for anything but scales.
    EXPECT_GE(grid_.bits_per_weight(), grid_.affine.bits);
    EXPECT_LE(grid_.bits_per_weight(), grid_.affine.bits + 1);
  }
  if (!grid_.codebook.empty()) {
    EXPECT_GE(grid_.bits_per_weight(), std::log2(grid_.codebook.size()));
  }
  if (grid_.plain) {
    EXPECT_EQ(grid_.block, 1);
    EXPECT_EQ(grid_.importance, Importance::kUnused);
  }
}

TEST_P(GridTest, DecodesAnyBytesBlockByBlock) {
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 50; ++repeat) {
    const int count = 1 + repeat % 7;
    std::vector<uint8_t> blocks(static_cast<size_t>(count) * grid_.bytes);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
    if (repeat == 0) std::ranges::fill(blocks, 0);
    if (repeat == 1) std::ranges::fill(blocks, 255);
    const std::vector<float> all = Decode(blocks);
    for (int b = 0; b < count; ++b) {
      // Vectors of exactly one block, so that a sanitizer sees the first byte too far.
      const auto at = blocks.begin() + static_cast<int64_t>(b) * grid_.bytes;
      const std::vector<float> one = Decode(std::vector<uint8_t>(at, at + grid_.bytes));
      for (int i = 0; i < grid_.block; ++i) {
        const float w = all[b * grid_.block + i];
        ASSERT_TRUE(one[i] == w || (std::isnan(one[i]) && std::isnan(w))) << b << ' ' << i;
      }
    }
  }
}

// The affine parameters mean what they say: a group's weights are whole steps from zero, or where
// zero may lie anywhere from the smallest, and no more steps than its codes can count.
TEST_P(AffineGridTest, AffineLevelsAreEvenlySpaced) {
  const std::vector<float> decoded = Decode(Encode(NormalRow(Columns(), 2), nullptr));
  for (int64_t at = 0; at < Columns(); at += grid_.affine.group) {
    const std::set<float> levels(decoded.begin() + at, decoded.begin() + at + grid_.affine.group);
    ASSERT_GE(levels.size(), 2u);
    const double low = *levels.begin(), high = *levels.rbegin();
    const double origin = grid_.affine.symmetric ? 0 : low;
    const double reach = grid_.affine.symmetric ? std::max(-low, high) : high - low;
    const int most =
        grid_.affine.symmetric ? 1 << (grid_.affine.bits - 1) : (1 << grid_.affine.bits) - 1;
    bool even = false;
    for (int steps = 1; steps <= most; ++steps) {
      even |= std::ranges::all_of(levels, [&](float level) {
        const double at_step = (level - origin) / reach * steps;
        return std::fabs(at_step - std::round(at_step)) < 0.01;
      });
    }
    EXPECT_TRUE(even) << at;
  }
}

TEST_P(CodebookGridTest, CodebookHoldsTheLevels) {
  const std::vector<float> decoded = Decode(Encode(NormalRow(grid_.block, 3), nullptr));
  const int group = std::min(grid_.block, 16);  // no grid has smaller groups with one scale
  for (int at = 0; at < grid_.block; at += group) {
    // Some pair of a decoded weight and a level gives the scale with which all are levels.
    const auto largest =
        std::max_element(decoded.begin() + at, decoded.begin() + at + group,
                         [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    const bool fits = std::ranges::any_of(grid_.codebook, [&](float top) {
      if (top == 0) return *largest == 0;
      const double scale = static_cast<double>(*largest) / top;
      return std::all_of(decoded.begin() + at, decoded.begin() + at + group, [&](float w) {
        return std::ranges::any_of(grid_.codebook, [&](float level) {
          return std::fabs(level * scale - w) <= 1e-5 * std::fabs(*largest);
        });
      });
    });
    EXPECT_TRUE(fits) << at;
  }
}

TEST_P(WritableGridTest, EncodingWritesEveryByteAndNothingElse) {
  const std::vector<float> row = NormalRow(Columns(), 4);
  const std::vector<float> importance(row.size(), 1.5f);
  for (const float* weight : {static_cast<const float*>(nullptr), importance.data()}) {
    if (weight == nullptr && grid_.importance == Importance::kRequired) continue;
    EXPECT_EQ(Encode(row, weight, 0x00), Encode(row, weight, 0xFF));
  }
  if (grid_.importance == Importance::kUnused) {
    EXPECT_EQ(Encode(row, nullptr), Encode(row, importance.data()));
  }
}

// Rate-distortion theory: no code of R bits a weight brings normal weights closer than 2^-R of
// their deviation, on average. Good grids come near it; the ternary ones, which leave most weights
// at zero, stay within a factor of four.
TEST_P(WritableGridTest, ErrorLiesNearTheTheoreticalBound) {
  double error = 0, power = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> row = NormalRow(Columns(), 100 + seed);
    const std::vector<float> importance(row.size(), 1.0f);
    const std::vector<float> decoded = Decode(Encode(row, importance.data()));
    error += SquaredError(row, decoded);
    power += SquaredError(row, std::vector<float>(row.size(), 0.0f));
  }
  const double relative = std::sqrt(error / power);
  RecordProperty("relative_error", std::to_string(relative));
  if (grid_.plain) {
    EXPECT_LE(relative, std::exp2(-8));
  } else {
    EXPECT_GE(relative, std::exp2(-grid_.bits_per_weight()));
    EXPECT_LE(relative, 4 * std::exp2(-grid_.bits_per_weight()));
  }
}

TEST_P(WeighableGridTest, ImportancesLowerTheErrorThatTheyWeigh) {
  double with = 0, without = 0;
  std::mt19937 random(5);
  std::lognormal_distribution<float> distribution(0, 1.5f);
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> row = NormalRow(Columns(), 200 + seed);
    std::vector<float> importance(row.size());
    for (float& x : importance) x = distribution(random);
    with += SquaredError(row, Decode(Encode(row, importance.data())), &importance);
    without += SquaredError(row, Decode(Encode(row, nullptr)), &importance);
  }
  EXPECT_LT(with, without);
}

TEST_P(WritableGridTest, FiniteRowsGiveFiniteBlocks) {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  const std::map<std::string, std::function<float(int64_t)>> rows = {
      {"zeros", [](int64_t) { return 0.0f; }},
      {"negative zeros", [](int64_t i) { return i % 2 != 0 ? -0.0f : 0.0f; }},
      {"constant", [](int64_t) { return 0.5f; }},
      {"negative constant", [](int64_t) { return -3.0f; }},
      {"one outlier", [](int64_t i) { return i == 7 ? 1e4f : 1e-4f; }},
      {"one weight", [](int64_t i) { return i == 31 ? -1.0f : 0.0f; }},
      {"denormal", [](int64_t i) { return static_cast<float>(i % 5 - 2) * kDenormal; }},
      {"smallest", [](int64_t i) { return i % 3 == 0 ? 1e-38f : -1e-38f; }},
      {"tiny", [](int64_t i) { return static_cast<float>(i % 7 - 3) * 1e-15f; }},
      {"beyond f16", [](int64_t i) { return static_cast<float>(i % 9 - 4) * 1e8f; }},
      {"largest", [](int64_t i) { return i % 2 != 0 ? kMax : -kMax; }},
      {"largest alone", [](int64_t i) { return i == 0 ? kMax : 1.0f; }}};
  for (const auto& [name, weight] : rows) {
    std::vector<float> row(Columns());
    for (int64_t i = 0; i < std::ssize(row); ++i) row[i] = weight(i);
    for (const float level : {0.0f, 1.0f, 1e-30f, 1e30f}) {
      const std::vector<float> importance(row.size(), level);
      // level 0 stands for "none" first, then for importances that are all zero.
      for (const float* given : {static_cast<const float*>(nullptr), importance.data()}) {
        if (given == nullptr && (level != 0 || grid_.importance == Importance::kRequired)) continue;
        const std::vector<float> decoded = Decode(Encode(row, given));
        if (grid_.plain && std::fabs(row[0]) > 65504) continue;  // plain f16 may overflow
        EXPECT_TRUE(std::ranges::all_of(decoded, [](float w) { return std::isfinite(w); }))
            << name << ", importance " << (given == nullptr ? -1 : level);
      }
    }
  }
}

TEST_P(WritableGridTest, AllZerosStayZeros) {
  const std::vector<float> decoded = Decode(Encode(std::vector<float>(Columns()), nullptr));
  EXPECT_TRUE(std::ranges::all_of(decoded, [](float w) { return w == 0; }));
}

template <class Predicate>
auto GridsThat(const Predicate& predicate) {
  std::vector<const Grid*> grids;
  std::ranges::copy_if(AllGrids(), std::back_inserter(grids),
                       [&](const Grid* grid) { return predicate(*grid); });
  return testing::ValuesIn(grids);
}

std::string NameOf(const testing::TestParamInfo<const Grid*>& info) {
  return std::string(info.param->name);
}

INSTANTIATE_TEST_SUITE_P(All, GridTest, GridsThat([](const Grid&) { return true; }), &NameOf);
INSTANTIATE_TEST_SUITE_P(All, WritableGridTest,
                         GridsThat([](const Grid& grid) { return grid.writable(); }), &NameOf);
INSTANTIATE_TEST_SUITE_P(All, AffineGridTest, GridsThat([](const Grid& grid) {
                           return grid.writable() && grid.affine.bits != 0;
                         }),
                         &NameOf);
INSTANTIATE_TEST_SUITE_P(All, CodebookGridTest, GridsThat([](const Grid& grid) {
                           return grid.writable() && !grid.codebook.empty();
                         }),
                         &NameOf);
INSTANTIATE_TEST_SUITE_P(All, WeighableGridTest, GridsThat([](const Grid& grid) {
                           return grid.writable() && grid.importance == Importance::kOptional;
                         }),
                         &NameOf);

template <class T>
float DecodePlain(std::string_view name, T value) {
  uint8_t bytes[sizeof(T)];
  StoreLe(bytes, value);
  float weight = 0;
  GridNamed(name).Decode(bytes, 1, &weight);
  return weight;
}

TEST(PlainGridTest, IntegersAndDoublesRoundToNearest) {
  for (const int64_t v : {0, 1, -1, 127, -128}) {
    EXPECT_EQ(DecodePlain("i8", static_cast<int8_t>(v)), static_cast<float>(v));
  }
  for (const int v : {32767, -32768}) {
    EXPECT_EQ(DecodePlain("i16", static_cast<int16_t>(v)), static_cast<float>(v));
  }
  EXPECT_EQ(DecodePlain("i32", int32_t{16777217}), 16777216.0f);  // a tie, to even
  EXPECT_EQ(DecodePlain("i32", int32_t{16777219}), 16777220.0f);
  EXPECT_EQ(DecodePlain("i32", std::numeric_limits<int32_t>::min()), -0x1p31f);
  EXPECT_EQ(DecodePlain("i64", std::numeric_limits<int64_t>::max()), 0x1p63f);
  EXPECT_EQ(DecodePlain("f64", 0.1), 0.1f);
  EXPECT_EQ(DecodePlain("f64", 1e300), std::numeric_limits<float>::infinity());
  for (const char* name : {"i8", "i16", "i32", "i64", "f64"}) {
    EXPECT_EQ(GridNamed(name).encode, nullptr) << name;
  }
}

TEST(PlainGridTest, FloatsThatFitComeBackBitForBit) {
  std::mt19937 random(6);
  std::vector<float> row(4096);
  for (float& w : row) w = std::bit_cast<float>(static_cast<uint32_t>(random()));
  for (const char* name : {"f32", "bf16", "f16"}) {
    const Grid& grid = GridNamed(name);
    std::vector<float> fitting = row;
    std::vector<uint8_t> bytes(grid.RowBytes(std::ssize(row))), again(bytes.size());
    // Whatever random bytes say is a number of the grid.
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    grid.Decode(bytes.data(), std::ssize(row), fitting.data());
    grid.Encode(fitting.data(), std::ssize(row), nullptr, again.data());
    std::vector<float> decoded(row.size());
    grid.Decode(again.data(), std::ssize(row), decoded.data());
    for (size_t i = 0; i < row.size(); ++i) {
      if (std::isnan(fitting[i])) {
        EXPECT_TRUE(std::isnan(decoded[i]));
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(decoded[i]), std::bit_cast<uint32_t>(fitting[i])) << name;
      }
    }
  }
}

}  // namespace
}  // namespace halftone
