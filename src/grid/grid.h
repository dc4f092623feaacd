// AXIS: what a grid is.
//
// A grid says which real numbers a weight may become and which bytes say so. It is a value in a
// table (grids.def), not a case in a switch: whoever needs a grid asks for one by name or by
// property and calls through the record. Each axis sees its own face:
//   containers see properties (GGUF type id, affine parameters, codebook),
//   methods see encode (and the properties that tell what encode needs),
//   kernels see decode.
// A grid's own header (grid/<file>.h) is the only place that knows its bytes; the functions it
// holds are the scalar truth that every faster kernel must reproduce. See docs/adding-a-grid.md.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "grid/scalar.h"

namespace halftone {

// Uniform levels: value = scale * (code - zero), one scale (and zero) for each group.
struct Affine {
  int bits = 0;            // 0: the grid is not affine
  int group = 0;           // weights that share a scale
  bool symmetric = false;  // the zero is fixed
};

// What encode does with the importance of each column.
enum class Importance : uint8_t {
  kUnused,    // the encoder has nothing to weigh
  kOptional,  // better with it
  kRequired,  // refuses to work without it
};

struct GroupedSpec;

struct Grid {
  std::string_view name;   // lower case, as on the command line: "q4_0"
  std::string_view title;  // as the format's owner spells it: "Q4_0"
  int block;               // weights in a block; a row is a whole number of blocks
  int bytes;               // bytes in a block
  int gguf_type;           // the persistent ggml_type id, or -1
  Affine affine;
  std::span<const float> codebook;  // the level of each code relative to the scale, or empty
  Importance importance;
  bool plain;  // stores numbers as they are (f32, bf16, i8 ...): no rounding is searched for
  // For grids that are made of parameters rather than listed (grouped.h), these; else null.
  const GroupedSpec* grouped;
  // The face for methods with feedback, or null.
  const ScalarGrid* scalar;

  // Both get the grid itself, which is all the context that a grid of parameters has.
  void (*decode)(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights);
  void (*encode)(const Grid& grid, const float* weights, int64_t n, const float* importance,
                 uint8_t* blocks);

  bool writable() const { return encode != nullptr; }

  // Decodes n weights (a multiple of block) to f32, in the arithmetic order of the format's owner.
  // Total: any bytes give some floats.
  void Decode(const uint8_t* blocks, int64_t n, float* weights) const {
    decode(*this, blocks, n, weights);
  }

  // Rounds one row of n weights (a multiple of block) onto the grid. importance: n values >= 0, or
  // null for none. Deterministic; finite input gives finite blocks. Only where writable().
  void Encode(const float* weights, int64_t n, const float* importance, uint8_t* blocks) const {
    encode(*this, weights, n, importance, blocks);
  }

  double bits_per_weight() const { return 8.0 * bytes / block; }
  // Bytes of a row of n weights; n must be a multiple of block.
  uint64_t RowBytes(int64_t n) const { return static_cast<uint64_t>(n / block) * bytes; }
};

// All grids, in the order of grids.def.
std::span<const Grid* const> AllGrids();

// Null where there is none. Besides those of the table it knows the names of grouped.h; `cols` is
// the length of the rows, for grids whose groups are whole rows.
const Grid* FindGrid(std::string_view name, int64_t cols = 0);
const Grid* FindGridByGgufType(int64_t gguf_type);

// As FindGrid, but throws Error (kUsage) naming the nearest grid for a name that does not exist.
const Grid& GridNamed(std::string_view name);

// The grid that holds f32 values as they are.
const Grid& F32Grid();

}  // namespace halftone
