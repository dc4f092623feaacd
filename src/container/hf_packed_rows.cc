#include "container/hf_packed_rows.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "container/hf_codes.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

// A block's bytes, told apart.
struct Layout {
  explicit Layout(const Grid& grid)
      : block(grid.block),
        bits(grid.grouped->bits),
        symmetric(grid.grouped->symmetric),
        bytes(static_cast<size_t>(grid.bytes)),
        scale(static_cast<size_t>(ScaleBytes(grid.grouped->scale))),
        codes(static_cast<size_t>(grid.block) * static_cast<size_t>(bits) / 8) {}

  int block, bits;
  bool symmetric;
  size_t bytes, scale, codes;
  size_t header() const { return bytes - codes; }
};

}  // namespace

void GatherColumns(const uint8_t* matrix, int64_t rows, int64_t cols, int64_t first, int64_t n,
                   uint32_t* out, int64_t stride) {
  // So few rows at a time that their lines stay in the first cache though they may all fall into
  // the same set of it.
  constexpr int64_t kRows = 8;
  for (int64_t k = 0; k < rows; k += kRows) {
    const int64_t count = std::min(kRows, rows - k);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t kk = k; kk < k + count; ++kk) {
        out[i * stride + kk] = LoadLe<uint32_t>(matrix + (kk * cols + first + i) * 4);
      }
    }
  }
}

void ScatterColumns(const uint32_t* in, int64_t stride, int64_t rows, int64_t cols, int64_t first,
                    int64_t n, uint8_t* matrix) {
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t i = 0; i < n; ++i) {
      StoreLe(matrix + (k * cols + first + i) * 4, in[i * stride + k]);
    }
  }
}

RowParameters::RowParameters(const Grid& grid, int64_t cols)
    : scales(static_cast<size_t>(cols / grid.block * ScaleBytes(grid.grouped->scale))),
      zeros(static_cast<size_t>(cols / grid.block)) {}

void MakeBlocks(const Grid& grid, const RowParameters& parameters, const uint8_t* stream,
                uint8_t* blocks) {
  const Layout layout(grid);
  for (size_t g = 0; g < parameters.zeros.size(); ++g) {
    std::memcpy(blocks, parameters.scales.data() + g * layout.scale, layout.scale);
    if (!layout.symmetric) blocks[layout.scale] = parameters.zeros[g];
    uint8_t* codes = blocks + layout.header();
    if (layout.bits == 4) {
      NibblesToBlock(stream, FirstNibble::kLow, layout.block, codes);
    } else {
      std::memcpy(codes, stream, layout.codes);
    }
    blocks += layout.bytes;
    stream += layout.codes;
  }
}

void TakeBlocks(const Grid& grid, const uint8_t* blocks, RowParameters& parameters,
                uint8_t* stream) {
  const Layout layout(grid);
  for (size_t g = 0; g < parameters.zeros.size(); ++g) {
    std::memcpy(parameters.scales.data() + g * layout.scale, blocks, layout.scale);
    parameters.zeros[g] =
        layout.symmetric ? static_cast<uint8_t>(1 << (layout.bits - 1)) : blocks[layout.scale];
    const uint8_t* codes = blocks + layout.header();
    if (layout.bits == 4) {
      NibblesFromBlock(codes, FirstNibble::kLow, layout.block, stream);
    } else {
      std::memcpy(stream, codes, layout.codes);
    }
    blocks += layout.bytes;
    stream += layout.codes;
  }
}

}  // namespace halftone
