// The decoders and fused products of every instruction set against the grids' own scalar decoding,
// which is the truth, bit by bit.

#include "kernel/cpu/decode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "grid/grouped.h"
#include "kernel/cpu/vector_ops.h"

namespace halftone {
namespace {

std::vector<uint8_t> RandomBytes(size_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(engine());
  return bytes;
}

bool Same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

// Rows' lengths worth trying: whole blocks, and for plain numbers any.
std::vector<int64_t> Lengths(const Grid& grid) {
  if (grid.block == 1) return {1, 7, 8, 15, 16, 17, 172, 1000};
  return {grid.block, 2 * grid.block, 7 * grid.block};
}

std::vector<const Grid*> GridsOfAllKinds() {
  std::vector<const Grid*> grids(AllGrids().begin(), AllGrids().end());
  for (const Grid* usual : UsualGroupedGrids()) {
    grids.push_back(usual);
    for (const Real value : {Real::kF32, Real::kF16, Real::kBf16}) {
      GroupedSpec spec = *usual->grouped;
      spec.value = value;
      grids.push_back(&GroupedGrid(spec, usual->block));
    }
  }
  return grids;
}

TEST(DecodeTest, EveryInstructionSetGivesTheScalarBits) {
  for (const Grid* grid : GridsOfAllKinds()) {
    for (const Isa isa : BuiltIsas()) {
      if (!IsaAvailable(isa)) continue;
      for (const int64_t n : Lengths(*grid)) {
        for (uint32_t seed = 0; seed < 20; ++seed) {
          // At the end of its allocation, so that a sanitizer sees a byte read too far.
          const auto bytes = RandomBytes(grid->RowBytes(n), seed);
          std::vector<float> expected(n), actual(n);
          grid->Decode(bytes.data(), n, expected.data());
          KernelsFor(*grid, isa).decode(*grid, bytes.data(), n, actual.data());
          for (int64_t i = 0; i < n; ++i) {
            ASSERT_TRUE(Same(actual[i], expected[i]))
                << grid->name << " " << IsaName(isa) << " weight " << i << " of " << n << ": "
                << actual[i] << " instead of " << expected[i];
          }
        }
      }
    }
  }
}

TEST(DecodeTest, FusedProductsGiveTheBitsOfDecodedOnes) {
  int fused = 0;
  for (const Grid* grid : AllGrids()) {
    for (const Isa isa : BuiltIsas()) {
      if (!IsaAvailable(isa)) continue;
      const GridKernels kernels = KernelsFor(*grid, isa);
      if (kernels.dot_rows == nullptr) continue;
      ++fused;
      for (const int64_t cols : Lengths(*grid)) {
        for (const int64_t rows : {1, 2, 3, 4, 5, 9}) {
          const auto row_bytes = static_cast<int64_t>(grid->RowBytes(cols));
          const auto bytes = RandomBytes(rows * row_bytes, 3);
          std::vector<float> w(rows * cols), x(cols), expected(rows), actual(rows);
          grid->Decode(bytes.data(), rows * cols, w.data());
          for (int64_t i = 0; i < cols; ++i) x[i] = std::sin(static_cast<float>(i + rows));
          VectorOpsFor(isa).dot_panel(w.data(), cols, rows, x.data(), cols, 1, cols,
                                      expected.data(), rows);
          kernels.dot_rows(*grid, bytes.data(), row_bytes, rows, x.data(), cols, actual.data());
          for (int64_t r = 0; r < rows; ++r) {
            ASSERT_TRUE(Same(actual[r], expected[r]))
                << grid->name << " " << IsaName(isa) << " row " << r << " of " << rows << "x"
                << cols << ": " << actual[r] << " instead of " << expected[r];
          }
        }
      }
    }
  }
  EXPECT_TRUE(fused > 0 || !IsaAvailable(Isa::kAvx2));
}

}  // namespace
}  // namespace halftone
