// The super-block grids against ggml: golden hashes made by testdata/make_kquant_golden.py from
// ggml's own library, on every instruction set; and against their definition.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/half.h"
#include "grid/grid.h"
#include "hwy/highway.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

constexpr int kRows = 4, kColumns = 2304, kBlock = 256;
constexpr std::array kNames = {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k"};

// splitmix64, by position.
uint64_t Bits(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

float Uniform(uint64_t seed, uint64_t index) {
  return static_cast<float>(Bits(seed, index) >> 40) * 0x1p-24f;
}

// Nearly normal, standard deviation 0.58.
float Normal(uint64_t i) {
  return Uniform(1, 4 * i) + Uniform(1, 4 * i + 1) + Uniform(1, 4 * i + 2) + Uniform(1, 4 * i + 3) -
         2.0f;
}

// The same bits as make_kquant_golden.py's cases.
float Weight(const std::string& name, int i) {
  const float g = Normal(i), v = Uniform(2, i);
  if (name == "normal") return g * 0.03f;
  if (name == "heavy") return g * 0.03f / (v + 0.02f);
  if (name == "sparse") return v < 0.9f ? 0.0f : g;
  if (name == "tiny") return g * 1e-6f;
  if (name == "fading") return std::ldexp(g, -(i / 256));
  if (name == "positive") return std::fabs(g) + 0.001f;
  if (name == "negative") return -std::fabs(g);
  if (name == "constant") return 0.37f;
  if (name == "zeros") return 0.0f;
  if (name == "large") return g * 3e4f;
  if (name == "integers") return std::floor(v * 9.0f) - 4.0f;
  if (name == "denormal") return g * 1e-39f;
  if (name == "offset") return g * 0.01f + 5.0f;
  if (name == "mixed") {
    const int kind = i / 16 % 4;
    return kind == 0 ? 0.0f : kind == 1 ? 0.7f : kind == 2 ? (i % 2 ? -0.5f : 0.5f) : g * 1e-7f;
  }
  ADD_FAILURE() << "no case " << name;
  return 0;
}

std::vector<float> Weights(const std::string& name) {
  std::vector<float> x(kRows * kColumns);
  for (int i = 0; i < std::ssize(x); ++i) x[i] = Weight(name, i);
  return x;
}

std::vector<float> ColumnImportance() {
  std::vector<float> importance(kColumns);
  for (int i = 0; i < kColumns; ++i) {
    const float t = Uniform(3, i);
    importance[i] = t < 0.1f ? 0.0f : t * t;
  }
  return importance;
}

std::string Fnv(const void* data, size_t size) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (size_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001B3u;
  }
  std::ostringstream out;
  out << std::hex;
  out.width(16);
  out.fill('0');
  out << hash;
  return out.str();
}

std::vector<uint8_t> EncodeRows(const Grid& grid, const std::vector<float>& x, int columns,
                                const float* importance) {
  std::vector<uint8_t> blocks(grid.RowBytes(x.size()));
  for (size_t at = 0; at < x.size(); at += columns) {
    grid.Encode(x.data() + at, columns, importance, blocks.data() + grid.RowBytes(at));
  }
  return blocks;
}

std::vector<float> Decode(const Grid& grid, const std::vector<uint8_t>& blocks) {
  std::vector<float> x(blocks.size() / grid.bytes * grid.block);
  grid.Decode(blocks.data(), std::ssize(x), x.data());
  return x;
}

// Offsets of a grid's f16 fields in its block.
std::vector<int> HalfFields(const Grid& grid) {
  const std::map<std::string_view, std::vector<int>> fields = {
      {"q2_k", {80, 82}}, {"q3_k", {108}}, {"q4_k", {0, 2}}, {"q5_k", {0, 2}}, {"q6_k", {208}}};
  return fields.at(grid.name);
}

std::vector<uint8_t> RandomBlocks(const Grid& grid, int count) {
  std::vector<uint8_t> blocks(static_cast<size_t>(count) * grid.bytes);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(Bits(4, i) >> 56);
  for (int b = 0; b < count; ++b) {
    for (const int at : HalfFields(grid)) blocks[b * grid.bytes + at + 1] &= 0xBF;
  }
  return blocks;
}

std::vector<std::vector<std::string>> GoldenLines(const std::string& first) {
  std::ifstream file(SourcePath("src/grid/testdata/kquant_golden.txt"));
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
    if (!fields.empty() && fields[0] == first) lines.push_back(std::move(fields));
  }
  return lines;
}

// Runs `test` once for each instruction set that the search was compiled for and this processor
// has.
void OnEveryTarget(const std::function<void()>& test) {
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    test();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

TEST(KQuant, EncodesGgmlsBytesOnEveryInstructionSet) {
  const auto lines = GoldenLines("encode");
  ASSERT_EQ(lines.size(), 70u);
  const std::vector<float> importance = ColumnImportance();
  int targets = 0;
  OnEveryTarget([&] {
    ++targets;
    for (const auto& line : lines) {
      const Grid& grid = GridNamed(line[2]);
      const std::vector<float> x = Weights(line[1]);
      const auto plain = EncodeRows(grid, x, kColumns, nullptr);
      EXPECT_EQ(Fnv(plain.data(), plain.size()), line[3]) << line[1] << " " << grid.name;
      const auto weighted = EncodeRows(grid, x, kColumns, importance.data());
      EXPECT_EQ(Fnv(weighted.data(), weighted.size()), line[4])
          << line[1] << " with importances " << grid.name;
    }
  });
  EXPECT_GE(targets, 1);
}

TEST(KQuant, DecodesAsGgml) {
  const auto lines = GoldenLines("decode");
  ASSERT_EQ(lines.size(), kNames.size());
  for (const auto& line : lines) {
    const Grid& grid = GridNamed(line[1]);
    const std::vector<float> x = Decode(grid, RandomBlocks(grid, 16));
    EXPECT_EQ(Fnv(x.data(), x.size() * sizeof(float)), line[2]) << grid.name;
  }
}

int Code(std::string_view grid, const uint8_t* b, int e) {
  const int r = e % 128, half = e / 128;
  if (grid == "q2_k") return b[16 + 32 * half + e % 32] >> 2 * (r / 32) & 3;
  if (grid == "q3_k") {
    return (b[32 + 32 * half + e % 32] >> 2 * (r / 32) & 3) + 4 * (b[e % 32] >> e / 32 & 1) - 4;
  }
  if (grid == "q6_k") {
    return (b[64 * half + r % 64] >> 4 * (r / 64) & 15) +
           16 * (b[128 + 32 * half + r % 32] >> 2 * (r / 32) & 3) - 32;
  }
  const int low = b[(grid == "q4_k" ? 16 : 48) + 32 * (e / 64) + e % 32] >> 4 * (e / 32 % 2) & 15;
  return grid == "q4_k" ? low : low + 16 * (b[16 + e % 32] >> e / 32 & 1);
}

int Scale(std::string_view grid, const uint8_t* b, int g) {
  if (grid == "q2_k") return b[g] & 15;
  if (grid == "q3_k") {
    return (b[96 + g % 8] >> 4 * (g / 8) & 15) + 16 * (b[104 + g % 4] >> 2 * (g / 4) & 3) - 32;
  }
  if (grid == "q6_k") return static_cast<int8_t>(b[192 + g]);
  return g < 4 ? b[4 + g] & 63 : (b[8 + g] & 15) + 16 * (b[g] >> 6);
}

int Minimum(std::string_view grid, const uint8_t* b, int g) {
  if (grid == "q2_k") return b[g] >> 4;
  if (grid == "q4_k" || grid == "q5_k") {
    return g < 4 ? b[8 + g] & 63 : (b[8 + g] >> 4) + 16 * (b[4 + g] >> 6);
  }
  return 0;
}

// The byte pictures of the formats, read one weight at a time. f64 arithmetic on f16 times small
// integers is exact, so the decoded f32 may differ only by its own two or three roundings.
TEST(KQuant, DecodesItsDefinition) {
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    const auto blocks = RandomBlocks(grid, 64);
    const auto x = Decode(grid, blocks);
    const int group = grid.name == "q4_k" || grid.name == "q5_k" ? 32 : 16;
    const auto fields = HalfFields(grid);
    std::map<int, int> seen;
    for (int i = 0; i < std::ssize(x); ++i) {
      const uint8_t* b = blocks.data() + i / kBlock * grid.bytes;
      const int e = i % kBlock, g = e / group, code = Code(grid.name, b, e);
      const double minimum = fields.size() < 2 ? 0
                                               : static_cast<double>(LoadF16(b + fields[1])) *
                                                     Minimum(grid.name, b, g);
      const double product =
          static_cast<double>(LoadF16(b + fields[0])) * Scale(grid.name, b, g) * code;
      const double rounding = 0x1p-23 * (std::fabs(product) + std::fabs(minimum));
      ASSERT_NEAR(x[i], product - minimum, rounding) << grid.name << " weight " << i;
      ++seen[code];
    }
    const std::map<std::string_view, size_t> codes = {
        {"q2_k", 4}, {"q3_k", 8}, {"q4_k", 16}, {"q5_k", 32}, {"q6_k", 64}};
    EXPECT_EQ(seen.size(), codes.at(grid.name));
  }
}

// What a grid has once represented it represents again: blocks whose groups use all codes come back
// but for the rounding of d to f16.
TEST(KQuant, RoundTripsAllCodes) {
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    const int group = grid.name == "q4_k" || grid.name == "q5_k" ? 32 : 16;
    const std::map<std::string_view, std::array<int, 2>> ranges = {{"q2_k", {0, 3}},
                                                                   {"q3_k", {-4, 3}},
                                                                   {"q4_k", {0, 15}},
                                                                   {"q5_k", {0, 31}},
                                                                   {"q6_k", {-32, 31}}};
    const auto [low, high] = ranges.at(grid.name);
    std::vector<float> x(4 * kBlock);
    for (int i = 0; i < std::ssize(x); ++i) {
      // Every group holds the lowest and the highest code; all groups together hold every code.
      const int at = i % group, g = i / group, span = high - low + 1;
      const int code = at == 0 ? low : at == 1 ? high : low + (at * 5 + g * 7) % span;
      x[i] = 0.0125f * static_cast<float>(code) - (low < 0 ? 0.0f : 0.05f);
    }
    const auto back = Decode(grid, EncodeRows(grid, x, kBlock, nullptr));
    double error = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(back[i] - x[i], 2);
      size += std::pow(x[i], 2);
    }
    EXPECT_LT(std::sqrt(error / size), 1e-3) << grid.name;
  }
}

TEST(KQuant, ImportanceLowersTheWeightedError) {
  const std::vector<float> x = Weights("heavy"), importance = ColumnImportance();
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    const auto error = [&](const float* weights) {
      const auto back = Decode(grid, EncodeRows(grid, x, kColumns, weights));
      double sum = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        sum += importance[i % kColumns] * std::pow(static_cast<double>(back[i]) - x[i], 2);
      }
      return sum;
    };
    EXPECT_LT(error(importance.data()), error(nullptr)) << grid.name;
  }
}

// Super-blocks are searched several at a time; that must not show.
TEST(KQuant, EverySuperBlockIsRoundedAlone) {
  const std::vector<float> x = Weights("normal"), importance = ColumnImportance();
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    for (const bool weighted : {false, true}) {
      const auto rows = EncodeRows(grid, x, kColumns, weighted ? importance.data() : nullptr);
      std::vector<uint8_t> alone(rows.size());
      for (int at = 0; at < std::ssize(x); at += kBlock) {
        grid.Encode(x.data() + at, kBlock, weighted ? importance.data() + at % kColumns : nullptr,
                    alone.data() + grid.RowBytes(at));
      }
      EXPECT_TRUE(rows == alone) << grid.name << (weighted ? " with importances" : "");
    }
  }
}

TEST(KQuant, FiniteWeightsGiveFiniteBlocks) {
  const float most = std::numeric_limits<float>::max();
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    for (const float size : {1e5f, 1e8f, 1e12f, 1e20f, most}) {
      for (const bool weighted : {false, true}) {
        std::vector<float> x(2 * kBlock), importance(x.size());
        for (int i = 0; i < std::ssize(x); ++i) {
          x[i] = i % 7 == 0 ? -size : size * Uniform(5, i);
          importance[i] = i % 5 == 0 ? most : Uniform(6, i);
        }
        const auto back =
            Decode(grid, EncodeRows(grid, x, 2 * kBlock, weighted ? importance.data() : nullptr));
        EXPECT_TRUE(std::ranges::all_of(back, [](float v) { return std::isfinite(v); }))
            << grid.name << " " << size << " " << weighted;
      }
    }
  }
}

TEST(KQuant, ZerosStayZeros) {
  const std::vector<float> x(kColumns, 0.0f), importance = ColumnImportance();
  for (const char* name : kNames) {
    const Grid& grid = GridNamed(name);
    for (const float* weights : {static_cast<const float*>(nullptr), importance.data()}) {
      const auto back = Decode(grid, EncodeRows(grid, x, kColumns, weights));
      EXPECT_TRUE(std::ranges::all_of(back, [](float v) { return v == 0; })) << grid.name;
    }
  }
}

}  // namespace
}  // namespace halftone
