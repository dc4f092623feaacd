// Rows of grouped blocks (grid/grouped.h) out of streams that hold the codes of a row one after
// another from the lowest bit on, and back: what GPTQ's and AWQ's layouts come to once their
// matrices of words are turned the right way round.

#pragma once

#include <cstdint>
#include <vector>

#include "grid/grid.h"

namespace halftone {

// Rows that are turned at once. A cache line holds 16 words; several lines of a page are worth
// reading together, since the next word of the same row lies a page or more away.
inline constexpr int64_t kTileRows = 64;

// The 32-bit words that hold n codes.
inline int64_t PackedWords(int64_t n, int bits) { return (n * bits + 31) / 32; }

// Words between the rows of a tile: an odd number of cache lines, so that they do not share a few
// sets of the cache, and room behind the last.
inline int64_t TileStride(int64_t words) { return words / 32 * 32 + 48; }

// Columns [first, first + n) of a matrix of words, [rows, cols], as n rows of `stride` words. And
// back.
void GatherColumns(const uint8_t* matrix, int64_t rows, int64_t cols, int64_t first, int64_t n,
                   uint32_t* out, int64_t stride);
void ScatterColumns(const uint32_t* in, int64_t stride, int64_t rows, int64_t cols, int64_t first,
                    int64_t n, uint8_t* matrix);

// One row taken apart: all but its codes.
struct RowParameters {
  std::vector<uint8_t> scales;  // as stored, ScaleBytes(spec.scale) each; one for each block
  std::vector<uint8_t> zeros;   // one for each block; of no meaning where integers are symmetric

  RowParameters(const Grid& grid, int64_t cols);
};

// The row's blocks from parameters and stream, and back. Exact: scales keep their bits. TakeBlocks
// gives the zero of symmetric integers, too.
void MakeBlocks(const Grid& grid, const RowParameters& parameters, const uint8_t* stream,
                uint8_t* blocks);
void TakeBlocks(const Grid& grid, const uint8_t* blocks, RowParameters& parameters,
                uint8_t* stream);

}  // namespace halftone
