// The grids of grouped.h against bitsandbytes and compressed-tensors: hashes of codes, scales,
// zeros and values made by testdata/make_grouped_golden.py with these libraries.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "grid/grouped.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

constexpr int kRows = 2, kColumns = 512;

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

// The same bits as make_grouped_golden.py's cases.
float Weight(const std::string& name, uint64_t i) {
  const float g = Uniform(1, 4 * i) + Uniform(1, 4 * i + 1) + Uniform(1, 4 * i + 2) +
                  Uniform(1, 4 * i + 3) - 2.0f;
  const float v = Uniform(2, i);
  const auto integer = static_cast<float>(static_cast<int>(Bits(3, i) % 63) - 31);
  const std::map<std::string, float> cases = {{"normal", g * 0.03f},
                                              {"heavy", g * 0.03f / (v + 0.02f)},
                                              {"sparse", v < 0.9f ? 0.0f : g},
                                              {"ties", integer * 0.25f},
                                              {"positive", std::fabs(g) + 0.001f},
                                              {"negative", -std::fabs(g)},
                                              {"constant", 0.37f},
                                              {"zeros", 0.0f},
                                              {"tiny", g * 0x1p-13f},
                                              {"large", g * 1024.0f}};
  return cases.at(name);
}

class Fnv {
 public:
  void Add(const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      hash_ = (hash_ ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001B3u;
    }
  }
  std::string Text() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
    return text;
  }

 private:
  uint64_t hash_ = 0xCBF29CE484222325u;
};

// "<codes> <scales> <zeros> <values>".
std::string HashesOf(const Grid& grid, const std::vector<float>& weights) {
  const GroupedSpec& spec = *grid.grouped;
  Fnv codes_hash, scales_hash, zeros_hash, values_hash;
  std::vector<uint8_t> blocks(grid.RowBytes(kColumns)), codes(static_cast<size_t>(grid.block));
  std::vector<float> values(kColumns);
  for (int r = 0; r < kRows; ++r) {
    grid.Encode(weights.data() + r * kColumns, kColumns, nullptr, blocks.data());
    for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(grid.bytes)) {
      const uint8_t* block = blocks.data() + at;
      UnpackGroupedCodes(grid, block, codes.data());
      codes_hash.Add(codes.data(), codes.size());
      const float scale = LoadReal(spec.scale, block);
      scales_hash.Add(&scale, sizeof scale);
      if (!spec.symmetric) zeros_hash.Add(block + ScaleBytes(spec.scale), 1);
    }
    grid.Decode(blocks.data(), kColumns, values.data());
    values_hash.Add(values.data(), values.size() * sizeof(float));
  }
  return codes_hash.Text() + " " + scales_hash.Text() + " " + zeros_hash.Text() + " " +
         values_hash.Text();
}

TEST(GroupedGoldenTest, RoundsAndDecodesAsThePeers) {
  std::ifstream file(SourcePath("src/grid/testdata/grouped_golden.txt"));
  std::string line;
  int lines = 0;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string name, with;
    fields >> name >> with >> std::ws;
    std::string hashes;
    std::getline(fields, hashes);
    const Grid* grid = FindGrid(name, kColumns);
    ASSERT_NE(grid, nullptr) << name;
    std::vector<float> weights;
    for (uint64_t i = 0; i < kRows * kColumns; ++i) weights.push_back(Weight(with, i));
    EXPECT_EQ(HashesOf(*grid, weights), hashes) << name << " of " << with;
    ++lines;
  }
  EXPECT_EQ(lines, 180);
}

TEST(GroupedEncodeTest, ExtremeWeightsGiveFiniteBlocks) {
  std::vector<float> weights(kColumns, 0.0f), values(kColumns);
  for (const float magnitude : {3.4e38f, 7e4f, 1e-38f, 1e-45f}) {
    for (int i = 0; i < kColumns; ++i) weights[i] = i % 3 == 0 ? magnitude : -magnitude / 3;
    for (const char* name : {"nf4:g64", "fp4:g64", "int8:row:absmax", "int4:g32", "int4:g32:asym",
                             "int4:g32:bf16", "int4:g32:asym:bf16", "int8:row:f32",
                             "int8:row:asym:f32", "fp8:row:bf16", "fp8:row", "e2m1:g16:f32:bf16"}) {
      const Grid& grid = *FindGrid(name, kColumns);
      std::vector<uint8_t> blocks(grid.RowBytes(kColumns));
      grid.Encode(weights.data(), kColumns, nullptr, blocks.data());
      for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(grid.bytes)) {
        EXPECT_TRUE(std::isfinite(LoadReal(grid.grouped->scale, blocks.data() + at))) << name;
      }
    }
  }
}

TEST(GroupedNamesTest, SayWhatBitsandbytesDoes) {
  const auto int8 = ParseGroupedName("int8:row:absmax");
  ASSERT_TRUE(int8);
  EXPECT_EQ(GroupedName(*int8), "int8:row:absmax");
  EXPECT_EQ(int8->scale, Real::kF32);
  EXPECT_EQ(int8->after, 1.0f / 127);
  const auto nested = ParseGroupedName("nf4:g64:dq");
  ASSERT_TRUE(nested);
  EXPECT_EQ(GroupedName(*nested), "nf4:g64:dq");
  EXPECT_TRUE(nested->nested);
  EXPECT_NE(&GroupedGrid(*nested, 0), &GroupedGrid(*ParseGroupedName("nf4:g64"), 0));
  for (const char* wrong : {"int4:g64:dq", "e2m1:g32:dq", "fp8:row:absmax", "int4:g64:absmax"}) {
    EXPECT_FALSE(ParseGroupedName(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace halftone
