// The block grids against ggml: hashes made by testdata/make_block_golden.py with ggml's own
// library. Decoders and encoders must give its bits, encoders on every instruction set.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "grid/describe.h"
#include "grid/grid.h"
#include "grid/mxfp4.h"
#include "grid/nvfp4.h"
#include "grid/q1_0.h"
#include "grid/q2_0.h"
#include "grid/q4_0.h"
#include "grid/q4_1.h"
#include "grid/q5_0.h"
#include "grid/q5_1.h"
#include "grid/q8_0.h"
#include "grid/tq1_0.h"
#include "grid/tq2_0.h"
#include "hwy/highway.h"
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

// The same bits as make_block_golden.py's cases.
std::vector<float> Weights(const std::string& name) {
  std::vector<float> x(kRows * kColumns);
  for (uint64_t i = 0; i < x.size(); ++i) {
    const float g = Uniform(1, 4 * i) + Uniform(1, 4 * i + 1) + Uniform(1, 4 * i + 2) +
                    Uniform(1, 4 * i + 3) - 2.0f;
    const float v = Uniform(2, i);
    const std::map<std::string, float> cases = {{"normal", g * 0.03f},
                                                {"heavy", g * 0.03f / (v + 0.02f)},
                                                {"sparse", v < 0.9f ? 0.0f : g},
                                                {"signed_zeros", v < 0.9f ? -0.0f : std::fabs(g)},
                                                {"positive", std::fabs(g) + 0.001f},
                                                {"negative", -std::fabs(g)},
                                                {"constant", 0.37f},
                                                {"zeros", 0.0f},
                                                {"tiny", g * 1e-6f},
                                                {"large", g * 3e4f},
                                                {"integers", std::floor(v * 9.0f) - 4.0f}};
    x[i] = cases.at(name);
  }
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

template <class T>
std::string Fnv(const std::vector<T>& values) {
  uint64_t hash = 0xCBF29CE484222325u;
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) {
    hash = (hash ^ bytes[i]) * 0x100000001B3u;
  }
  std::ostringstream out;
  out << std::hex;
  out.width(16);
  out.fill('0');
  out << hash;
  return out.str();
}

// Lines of the golden file whose first word is `kind`, without it.
std::vector<std::vector<std::string>> GoldenLines(const std::string& kind) {
  std::ifstream file(SourcePath("src/grid/testdata/block_golden.txt"));
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
    if (fields.empty() || fields[0] != kind) continue;
    lines.emplace_back(fields.begin() + 1, fields.end());
  }
  return lines;
}

TEST(BlockGoldenTest, DecodesAsGgml) {
  const auto lines = GoldenLines("decode");
  ASSERT_EQ(lines.size(), 20u);
  for (const auto& line : lines) {
    const Grid& grid = GridNamed(line[0]);
    std::vector<uint8_t> blocks(64 * grid.bytes);
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(Bits(4, i) >> 56);
    std::vector<float> weights(64 * grid.block);
    grid.Decode(blocks.data(), std::ssize(weights), weights.data());
    for (float& w : weights) {
      if (std::isnan(w)) w = std::bit_cast<float>(0x7FC00000);
    }
    EXPECT_EQ(Fnv(weights), line[1]) << grid.name;
  }
}

void ExpectGoldenEncoding() {
  const std::vector<float> importance = ColumnImportance();
  const auto lines = GoldenLines("encode");
  ASSERT_EQ(lines.size(), 209u);
  for (const auto& line : lines) {
    const Grid& grid = GridNamed(line[0]);
    const std::vector<float> x = Weights(line[1]);
    std::vector<uint8_t> blocks(grid.RowBytes(std::ssize(x)));
    for (int row = 0; row < kRows; ++row) {
      grid.Encode(x.data() + row * kColumns, kColumns,
                  line[2] == "importance" ? importance.data() : nullptr,
                  blocks.data() + row * grid.RowBytes(kColumns));
    }
    EXPECT_EQ(Fnv(blocks), line[3]) << grid.name << ' ' << line[1] << ' ' << line[2];
  }
}

TEST(BlockGoldenTest, EncodesAsGgml) { ExpectGoldenEncoding(); }

// The searches are compiled for several targets; each must give the same bytes.
TEST(BlockGoldenTest, SearchesAlikeOnEveryTarget) {
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    ExpectGoldenEncoding();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

// Encoders without a search are compiled for several instruction sets too (describe.h).
template <class G>
class BlockEncoderTest : public testing::Test {};
using BlockEncoders =
    testing::Types<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_0, Q1_0, TQ1_0, TQ2_0, MXFP4, NVFP4>;
TYPED_TEST_SUITE(BlockEncoderTest, BlockEncoders);

TYPED_TEST(BlockEncoderTest, GivesTheSameBytesOnEveryInstructionSet) {
  using G = TypeParam;
  constexpr int64_t kCount = 512;
  for (uint64_t seed = 10; seed < 400; ++seed) {
    std::vector<float> x(kCount);
    for (int64_t i = 0; i < kCount; ++i) {
      // Any finite float, rows of one magnitude, multiples of a power of two (ties).
      const auto bits = static_cast<uint32_t>(Bits(seed, i));
      if (seed % 3 == 0) x[i] = std::bit_cast<float>(bits & 0xBF7FFFFF);
      if (seed % 3 == 1) x[i] = Uniform(seed, i) - 0.5f;
      if (seed % 3 == 2) x[i] = std::ldexp(static_cast<float>(bits % 31) - 15.0f, -4);
    }
    std::vector<uint8_t> baseline(kCount / G::kBlock * G::kBytes), other(baseline.size());
    EncodeBlocks<G>(x.data(), kCount, baseline.data());
    EncodeIndependent<G>({}, x.data(), kCount, nullptr, other.data());
    ASSERT_EQ(baseline, other) << seed;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) {
      EncodeBlocksAvx2<G>(x.data(), kCount, other.data());
      ASSERT_EQ(baseline, other) << seed;
    }
#endif
  }
}

}  // namespace
}  // namespace halftone
