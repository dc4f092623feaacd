// The grids of grid/grouped.h in products with rounded activations: 4- and 8-bit codes in groups
// that are whole multiples of 32. Steps and zeros are read where a group begins.
//
// Levels that are no integers (NF4, FP4, E2M1) are cut to 15 bits, 1/32,512 of the largest at most
// away, and multiplied in two planes of signed bytes: level = (128 * high + low) / 16256 * largest.

#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "grid/grouped.h"
#include "kernel/cpu/fast/code_kernels.h"

#if defined(__x86_64__)

namespace halftone {

// One of the two planes of a grid's levels: level = sum over planes of unit * code.
struct LevelPlane {
  alignas(16) int8_t codes[16];
  float unit;
};

inline std::array<LevelPlane, 2> SplitLevels(std::span<const float> levels) {
  constexpr float kLargest = 127 * 128;
  float largest = 0;
  for (const float level : levels) largest = std::max(largest, std::fabs(level));
  std::array<LevelPlane, 2> planes{};
  for (int code = 0; code < 16; ++code) {
    const auto whole = static_cast<int>(std::lrint(levels[code] / largest * kLargest));
    const int high = (whole + 64) >> 7;
    planes[0].codes[code] = static_cast<int8_t>(whole - 128 * high);
    planes[1].codes[code] = static_cast<int8_t>(high);
  }
  planes[0].unit = largest / kLargest;
  planes[1].unit = 128 * planes[0].unit;
  return planes;
}

// The low plane and the high one of a grid with 16 levels that are no integers.
inline const std::array<LevelPlane, 2>& PlanesOf(const Grid& grid) {
  switch (grid.grouped->levels) {
    case GroupedLevels::kNf4: {
      static const auto nf4 = SplitLevels(LevelsOfCodes(grid));
      return nf4;
    }
    case GroupedLevels::kFp4: {
      static const auto fp4 = SplitLevels(LevelsOfCodes(grid));
      return fp4;
    }
    default: {
      static const auto e2m1 = SplitLevels(LevelsOfCodes(grid));
      return e2m1;
    }
  }
}

HT_BEGIN_AVX2

// Walks along a row, 32 columns at a time.
struct GroupWalk {
  const uint8_t* block;
  const GroupedSpec* spec;
  int64_t group, within;
  int bytes, header;
  float step = 0, zero = 0;

  HT_INLINE GroupWalk(const Grid& grid, const uint8_t* row, int64_t column)
      : block(row + column / grid.block * grid.bytes),
        spec(grid.grouped),
        group(grid.block),
        within(column % grid.block),
        bytes(grid.bytes),
        header(grid.bytes - grid.block * grid.grouped->bits / 8) {
    Read();
  }

  // The next 32 codes; step and zero are theirs until the next call.
  template <int kBits>
  HT_INLINE const uint8_t* Next() {
    if (within == group) {
      block += bytes;
      within = 0;
      Read();
    }
    const uint8_t* codes = block + header + within * kBits / 8;
    within += 32;
    return codes;
  }

 private:
  HT_INLINE void Read() {
    if (spec->scale == Real::kF16) {
      step = Half256(block);
    } else {
      uint32_t bits = 0;
      if (spec->scale == Real::kF32) {
        std::memcpy(&bits, block, 4);
      } else {
        std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, block, 2);
      }
      std::memcpy(&step, &bits, 4);
    }
    step *= spec->after;
    zero = block[header - 1];  // anything where integers are symmetric
  }
};

// Kinds: the form, the codes of 32 columns, and the step and minimum of the walk's group.
struct FourBits {
  static constexpr PanelForm kForm{.offset = 8};
  static constexpr int kBits = 4;
  HT_INLINE FourBits(const Grid& /*grid*/, int /*plane*/) {}
  HT_INLINE __m256i Of(const uint8_t* codes) const { return Nibbles256(codes); }
  HT_INLINE float Step(const GroupWalk& walk) const { return walk.step; }
  HT_INLINE float Minimum(const GroupWalk& /*walk*/) const { return 0; }
};

struct FourBitsWithZero : FourBits {
  static constexpr PanelForm kForm{.minima = true};
  HT_INLINE FourBitsWithZero(const Grid& grid, int plane) : FourBits(grid, plane) {}
  HT_INLINE float Minimum(const GroupWalk& walk) const { return walk.step * walk.zero; }
};

struct EightBits {
  static constexpr PanelForm kForm{.wide = true};
  static constexpr int kBits = 8;
  HT_INLINE EightBits(const Grid& /*grid*/, int /*plane*/) {}
  HT_INLINE __m256i Of(const uint8_t* codes) const {
    return _mm256_xor_si256(Load256(codes), _mm256_set1_epi8(-128));
  }
  HT_INLINE float Step(const GroupWalk& walk) const { return walk.step; }
  HT_INLINE float Minimum(const GroupWalk& /*walk*/) const { return 0; }
};

struct EightBitsWithZero : EightBits {
  static constexpr PanelForm kForm{.minima = true, .wide = true};
  HT_INLINE EightBitsWithZero(const Grid& grid, int plane) : EightBits(grid, plane) {}
  HT_INLINE float Minimum(const GroupWalk& walk) const { return walk.step * (walk.zero - 128); }
};

struct Levels16 {
  static constexpr PanelForm kForm{.wide = true, .planes = 2};
  static constexpr int kBits = 4;
  __m128i levels;
  float unit;

  HT_INLINE Levels16(const Grid& grid, int plane) {
    const LevelPlane& own = PlanesOf(grid)[plane];
    levels = _mm_load_si128(reinterpret_cast<const __m128i*>(own.codes));
    unit = own.unit;
  }
  HT_INLINE __m256i Of(const uint8_t* codes) const { return LookUp256(levels, Nibbles256(codes)); }
  HT_INLINE float Step(const GroupWalk& walk) const { return walk.step * unit; }
  HT_INLINE float Minimum(const GroupWalk& /*walk*/) const { return 0; }
};

// Reads rows as CodesOfBlocks does.
template <class Kind>
struct CodesOfGroupedRows {
  static constexpr PanelForm kForm = Kind::kForm;
  Kind kind;
  GroupWalk walk;

  HT_INLINE CodesOfGroupedRows(const Grid& grid, const uint8_t* row, int64_t stretch, int plane)
      : kind(grid, plane), walk(grid, row, stretch * kRoundedColumns) {}

  template <class Sink>
  HT_INLINE void Step(Sink& sink) {
    const uint8_t* codes[8];
    float steps[8], minima[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      codes[j] = walk.Next<Kind::kBits>();
      steps[j] = kind.Step(walk);
      minima[j] = kind.Minimum(walk);
    }
    sink.Steps(_mm256_setr_ps(steps[0], steps[1], steps[2], steps[3], steps[4], steps[5], steps[6],
                              steps[7]));
    if constexpr (kForm.minima) {
      sink.Minima(_mm256_setr_ps(minima[0], minima[1], minima[2], minima[3], minima[4], minima[5],
                                 minima[6], minima[7]));
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sink(j, kind.Of(codes[j]));
  }

  template <class Sink>
  HT_INLINE void Rest(Sink& sink, int64_t columns) {
    sink.Clear();
    for (int g = 0; g < columns / 32; ++g) {
      const __m256i codes = kind.Of(walk.Next<Kind::kBits>());
      sink.One(g, codes, kind.Step(walk), kind.Minimum(walk));
    }
  }
};

HT_END_TARGET

template <class Kind>
static RoundedKernels KernelsOf() {
  using C = CodesOfGroupedRows<Kind>;
  return kRounded<C, DotCodesHere<C>>;
}

// The kernels of a grid of the family on the instruction set that this unit is compiled for.
static RoundedKernels RoundedOfGroups(const Grid& grid) {
  const GroupedSpec& spec = *grid.grouped;
  if (grid.block % 32 != 0) return {};
  if (spec.levels == GroupedLevels::kInteger) {
    if (spec.bits == 4) {
      return spec.symmetric ? KernelsOf<FourBits>() : KernelsOf<FourBitsWithZero>();
    }
    if (spec.bits == 8) {
      return spec.symmetric ? KernelsOf<EightBits>() : KernelsOf<EightBitsWithZero>();
    }
    return {};
  }
  return spec.bits == 4 ? KernelsOf<Levels16>() : RoundedKernels{};
}

}  // namespace halftone

#endif
