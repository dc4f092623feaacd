// The face of a grid that methods with feedback see (GPTQ and its kin): rounding one weight at a
// time with parameters that are already chosen.
//
// A block of such a grid is a few groups of weights, and a weight is an affine function of its
// code:
//
//   weight e of group g = step(g) * level[code[e]] + shift(g)
//
// What values step and shift may take is described here as data, so that one search serves all
// grids. Grids whose codes stand for several weights at once (lattices) have no such face.

#pragma once

#include <cstdint>
#include <span>

namespace halftone {

struct Grid;

// How a number is stored, and thereby rounded.
enum class Real : uint8_t { kF32, kF16, kBf16 };

enum class StepKind : uint8_t {
  kOwn,       // step(g) = unit: a block has one group
  kMultiple,  // step(g) = unit * scale[g], an integer in [scale_low, scale_high]
};

enum class ShiftKind : uint8_t {
  kNone,      // shift(g) = 0
  kOwn,       // shift(g) = shift_unit: a block has one group
  kMultiple,  // shift(g) = -shift_unit * shift[g], an integer in [0, shift_high], shift_unit >= 0
  kZero,      // shift(g) = -step(g) * shift[g], an integer in [0, shift_high]
};

inline constexpr int kMaxGroups = 16;  // of a block

// What a block stores besides its codes.
struct BlockParameters {
  float unit = 0;
  float shift_unit = 0;
  int16_t scale[kMaxGroups] = {};
  int16_t shift[kMaxGroups] = {};
};

struct ScalarGrid {
  int group = 0;  // weights that share step and shift; divides the block
  // level[code], ascending; or, where empty, the integers level = first + code.
  std::span<const float> levels;
  int first = 0;
  int count = 0;  // codes 0 .. count - 1
  StepKind step = StepKind::kOwn;
  int scale_low = 1, scale_high = 1;
  ShiftKind shift = ShiftKind::kNone;
  int shift_high = 0;
  Real unit = Real::kF16;
  // Whether unit may be negative.
  bool signed_unit = true;

  // Levels below `first` that the bytes can hold though no encoder uses them: first - s has the
  // code 256 - s. For blocks that came from elsewhere.
  int spare = 0;

  // Writes one block. `codes`: one for each weight of the block.
  void (*pack)(const Grid& grid, const BlockParameters& parameters, const uint8_t* codes,
               uint8_t* block) = nullptr;

  // The reverse; null where nothing needs it.
  void (*unpack)(const Grid& grid, const uint8_t* block, BlockParameters& parameters,
                 uint8_t* codes) = nullptr;

  float LowestLevel() const { return levels.empty() ? static_cast<float>(first) : levels.front(); }
  float HighestLevel() const {
    return levels.empty() ? static_cast<float>(first + count - 1) : levels.back();
  }
};

}  // namespace halftone
