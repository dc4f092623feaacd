// Every grid's decoder for every instruction set of this processor against the grid's own scalar
// decode: the same bits for any bytes. (NaN has many bit patterns; which one comes out is not
// promised.)

#include "kernel/cpu/decode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace halftone {
namespace {

class DecodeTest : public testing::TestWithParam<const Grid*> {};

void ExpectSameBits(const std::vector<float>& expected, const std::vector<float>& actual) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(expected[i]), std::bit_cast<uint32_t>(actual[i])) << i;
  }
}

TEST_P(DecodeTest, EqualsScalarDecodeInEveryBit) {
  const Grid& grid = *GetParam();
  EXPECT_EQ(KernelsFor(grid, Isa::kScalar).decode, grid.decode);
  std::mt19937 random(1);
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (!IsaAvailable(isa)) continue;
    SCOPED_TRACE(std::string(IsaName(isa)));
    for (int count = 1; count < 300; count += 1 + count / 4) {
      // Vectors of exactly these sizes: a sanitizer sees what reads or writes too far.
      std::vector<uint8_t> blocks(static_cast<size_t>(count) * grid.bytes);
      for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
      std::vector<float> expected(static_cast<size_t>(count) * grid.block);
      std::vector<float> actual(expected.size());
      grid.decode(blocks.data(), std::ssize(expected), expected.data());
      KernelsFor(grid, isa).decode(blocks.data(), std::ssize(actual), actual.data());
      ExpectSameBits(expected, actual);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DecodeTest, testing::ValuesIn(AllGrids().begin(), AllGrids().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace halftone
