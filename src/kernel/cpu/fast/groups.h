// The grids of grid/grouped.h in products with rounded activations: 4- and 8-bit codes in groups
// that are whole multiples of 32.
//
// Levels that are no integers (NF4, FP4, E2M1) are cut to 15 bits, 1/32,512 of the largest at most
// away, and become two bytes, level = (128 * high + low) / 16256 * largest. One token meets both at
// once, a panel holds one of the two planes.

#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "grid/grouped.h"
#include "kernel/cpu/fast/code_kernels.h"

#if defined(__x86_64__)

namespace halftone {

// The 16 levels of a grid as two planes of bytes: level = unit * (128 * high + low).
struct LevelPlanes {
  alignas(16) int8_t low[16];
  alignas(16) int8_t high[16];
  float unit;
};

inline LevelPlanes SplitLevels(std::span<const float> levels) {
  constexpr float kLargest = 127 * 128;
  float largest = 0;
  for (const float level : levels) largest = std::max(largest, std::fabs(level));
  LevelPlanes planes{};
  for (int code = 0; code < 16; ++code) {
    const auto whole = static_cast<int>(std::lrint(levels[code] / largest * kLargest));
    const int high = (whole + 64) >> 7;
    planes.low[code] = static_cast<int8_t>(whole - 128 * high);
    planes.high[code] = static_cast<int8_t>(high);
  }
  planes.unit = largest / kLargest;
  return planes;
}

inline const LevelPlanes& PlanesOf(const Grid& grid) {
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

// The parts of a block.
struct GroupParts {
  Real scale;
  float after;
  int64_t bytes, header;

  HT_INLINE explicit GroupParts(const Grid& grid)
      : scale(grid.grouped->scale),
        after(grid.grouped->after),
        bytes(grid.bytes),
        header(grid.bytes - grid.block * grid.grouped->bits / 8) {}

  HT_INLINE float Step(const uint8_t* block) const {
    if (scale == Real::kF16) return Half256(block) * after;
    uint32_t bits = 0;
    if (scale == Real::kF32) {
      std::memcpy(&bits, block, 4);
    } else {
      std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, block, 2);
    }
    return std::bit_cast<float>(bits) * after;
  }
  // The steps of kBlocks blocks, at most four, in the first lanes.
  template <int kBlocks>
  HT_INLINE __m128 Steps(const uint8_t* blocks) const {
    int32_t words[4] = {};
    if (scale == Real::kF32) {
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) std::memcpy(&words[b], blocks + b * bytes, 4);
    } else {
      uint16_t halves[4] = {};
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) std::memcpy(&halves[b], blocks + b * bytes, 2);
      if (scale == Real::kF16) {
        return Scaled(
            _mm_cvtph_ps(_mm_setr_epi16(halves[0], halves[1], halves[2], halves[3], 0, 0, 0, 0)));
      }
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) words[b] = halves[b] << 16;
    }
    return Scaled(_mm_castsi128_ps(_mm_setr_epi32(words[0], words[1], words[2], words[3])));
  }
  template <int kBlocks>
  HT_INLINE __m128 Zeros(const uint8_t* blocks) const {
    const uint8_t* at = blocks + header - 1;
    int32_t zeros[4] = {};
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) zeros[b] = at[b * bytes];
    return _mm_cvtepi32_ps(_mm_setr_epi32(zeros[0], zeros[1], zeros[2], zeros[3]));
  }
  // Anything where integers are symmetric.
  HT_INLINE float Zero(const uint8_t* block) const { return block[header - 1]; }

 private:
  HT_INLINE __m128 Scaled(__m128 scales) const { return _mm_mul_ps(scales, _mm_set1_ps(after)); }
};

// Kinds: the form, what a step is in scales (Unit), which zero stands for none (kZero, where there
// are zeros), and how a sink is given the codes of 32 columns, of 64, or of 32 at a row's end.
struct FourBits {
  static constexpr PanelForm kForm{.offset = 8};
  static constexpr int kBits = 4;
  HT_INLINE FourBits(const Grid& /*grid*/, int /*plane*/) {}
  template <class Sink>
  HT_INLINE void Give(Sink& sink, int j, const uint8_t* codes) const {
    sink(j, Nibbles256(codes));
  }
  template <class Sink>
  HT_INLINE void GivePair([[maybe_unused]] Sink& sink, [[maybe_unused]] int p,
                          [[maybe_unused]] const uint8_t* codes) const {
#if defined(HT_VNNI_UNIT)
    sink.Pair(p, NibblePairs512(Load256(codes)));
#endif
  }
  template <class Sink>
  HT_INLINE void GiveOne(Sink& sink, int g, const uint8_t* codes, float step, float minimum) const {
    sink.One(g, Nibbles256(codes), step, minimum);
  }
  HT_INLINE float Unit() const { return 1; }
};

struct FourBitsWithZero : FourBits {
  static constexpr PanelForm kForm{.minima = true};
  static constexpr float kZero = 0;
  HT_INLINE FourBitsWithZero(const Grid& grid, int plane) : FourBits(grid, plane) {}
};

struct EightBits {
  static constexpr PanelForm kForm{.wide = true};
  static constexpr int kBits = 8;
  HT_INLINE EightBits(const Grid& /*grid*/, int /*plane*/) {}
  template <class Sink>
  HT_INLINE void Give(Sink& sink, int j, const uint8_t* codes) const {
    sink(j, Of(codes));
  }
  template <class Sink>
  HT_INLINE void GivePair([[maybe_unused]] Sink& sink, [[maybe_unused]] int p,
                          [[maybe_unused]] const uint8_t* codes) const {
#if defined(HT_VNNI_UNIT)
    sink.Pair(p, _mm512_loadu_si512(codes));
#endif
  }
  template <class Sink>
  HT_INLINE void GiveOne(Sink& sink, int g, const uint8_t* codes, float step, float minimum) const {
    sink.One(g, Of(codes), step, minimum);
  }
  HT_INLINE float Unit() const { return 1; }

 private:
  HT_INLINE static __m256i Of(const uint8_t* codes) {
    return _mm256_xor_si256(Load256(codes), _mm256_set1_epi8(-128));
  }
};

struct EightBitsWithZero : EightBits {
  static constexpr PanelForm kForm{.minima = true, .wide = true};
  static constexpr float kZero = 128;
  HT_INLINE EightBitsWithZero(const Grid& grid, int plane) : EightBits(grid, plane) {}
};

struct Levels16 {
  static constexpr PanelForm kForm{.wide = true, .planes = 2};
  static constexpr int kBits = 4;
  __m128i low, high;
  float unit;
  int plane;

  HT_INLINE Levels16(const Grid& grid, int which) : plane(which) {
    const LevelPlanes& planes = PlanesOf(grid);
    low = _mm_load_si128(reinterpret_cast<const __m128i*>(planes.low));
    high = _mm_load_si128(reinterpret_cast<const __m128i*>(planes.high));
    unit = planes.unit;
  }
  template <class Sink>
  HT_INLINE void Give(Sink& sink, int j, const uint8_t* codes) const {
    const __m256i four = Nibbles256(codes);
    if constexpr (Sink::kPlanes) {
      sink.Planes(j, LookUp256(low, four), LookUp256(high, four));
    } else {
      sink(j, LookUp256(plane == 0 ? low : high, four));
    }
  }
  template <class Sink>
  HT_INLINE void GivePair([[maybe_unused]] Sink& sink, [[maybe_unused]] int p,
                          [[maybe_unused]] const uint8_t* codes) const {
#if defined(HT_VNNI_UNIT)
    const __m512i four = NibblePairs512(Load256(codes));
    if constexpr (Sink::kPlanes) {
      sink.PlanesOfPair(p, LookUp512(low, four), LookUp512(high, four));
    } else {
      sink.Pair(p, LookUp512(plane == 0 ? low : high, four));
    }
#endif
  }
  template <class Sink>
  HT_INLINE void GiveOne(Sink& sink, int g, const uint8_t* codes, float step, float minimum) const {
    const __m256i four = Nibbles256(codes);
    if constexpr (Sink::kPlanes) {
      sink.OneOfPlanes(g, LookUp256(low, four), LookUp256(high, four), step);
    } else {
      sink.One(g, LookUp256(plane == 0 ? low : high, four), step, minimum);
    }
  }
  HT_INLINE float Unit() const { return plane == 0 ? unit : 128 * unit; }
};

// Reads rows as CodesOfBlocks does. kGroup: columns of a group, of which 256 are a multiple; or 0:
// the group is a multiple of 256, or the row; or 32 for any other multiple of 32.
template <class Kind, int kGroup>
struct CodesOfGroupedRows {
  static constexpr PanelForm kForm = Kind::kForm;
  Kind kind;
  GroupParts parts;
  const uint8_t* block;
  int64_t group, within;  // columns of a block, and those of the present one that were read

  HT_INLINE CodesOfGroupedRows(const Grid& grid, const uint8_t* row, int64_t stretch, int plane)
      : kind(grid, plane), parts(grid), group(grid.block) {
    const int64_t column = stretch * kRoundedColumns;
    block = row + column / group * parts.bytes;
    within = column % group;
  }

  template <class Sink>
  HT_INLINE void Step(Sink& sink) {
    if constexpr (kGroup == 0) {
      StepOfLong(sink);
    } else if constexpr (kGroup == 32) {
      StepOfAny(sink);
    } else {
      StepOfShort(sink);
    }
  }

  template <class Sink>
  HT_INLINE void Rest(Sink& sink, int64_t columns) {
    sink.Clear();
    for (int g = 0; g < columns / 32; ++g) {
      const uint8_t* codes = Next();
      kind.GiveOne(sink, g, codes, kind.Unit() * parts.Step(block), Minimum());
    }
  }

 private:
  HT_INLINE float Minimum() const {
    if constexpr (kForm.minima) return parts.Step(block) * (parts.Zero(block) - Kind::kZero);
    return 0;
  }
  HT_INLINE void NextBlock() {
    if (within < group) return;
    block += parts.bytes;
    within = 0;
  }
  // The next 32 columns; `block` is theirs.
  HT_INLINE const uint8_t* Next() {
    NextBlock();
    const uint8_t* codes = block + parts.header + within * Kind::kBits / 8;
    within += 32;
    return codes;
  }
  // 256 columns whose codes lie together at `codes`, from pair `first` on.
  template <int kPairs, class Sink>
  HT_INLINE void Give(Sink& sink, int first, const uint8_t* codes) const {
    constexpr int kBytes = 8 * Kind::kBits;  // of a pair
#pragma GCC unroll 4
    for (int p = 0; p < kPairs; ++p) {
#if defined(HT_VNNI_UNIT)
      kind.GivePair(sink, first + p, codes + p * kBytes);
#else
      kind.Give(sink, 2 * (first + p), codes + p * kBytes);
      kind.Give(sink, 2 * (first + p) + 1, codes + p * kBytes + kBytes / 2);
#endif
    }
  }

  template <class Sink>
  HT_INLINE void StepOfLong(Sink& sink) {
    NextBlock();
    sink.Steps(_mm256_set1_ps(kind.Unit() * parts.Step(block)));
    if constexpr (kForm.minima) sink.Minima(_mm256_set1_ps(Minimum()));
    Give<4>(sink, 0, block + parts.header + within * Kind::kBits / 8);
    within += kRoundedColumns;
  }

  // Groups of 64 or 128. All of a block are read when the next step comes.
  template <class Sink>
  HT_INLINE void StepOfShort(Sink& sink) {
    constexpr int kBlocks = kRoundedColumns / kGroup, kPairs = kGroup / 64;
    const auto spread = [](__m128 blocks) {
      const __m256i lanes = kBlocks == 2 ? _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)
                                         : _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
      return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(blocks), lanes);
    };
    const __m128 steps = parts.template Steps<kBlocks>(block);
    sink.Steps(spread(_mm_mul_ps(steps, _mm_set1_ps(kind.Unit()))));
    if constexpr (kForm.minima) {
      const __m128 zeros = parts.template Zeros<kBlocks>(block);
      const __m128 above = _mm_sub_ps(zeros, _mm_set1_ps(Kind::kZero));
      sink.Minima(spread(_mm_mul_ps(steps, above)));
    }
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      Give<kPairs>(sink, kPairs * b, block + b * parts.bytes + parts.header);
    }
    block += kBlocks * parts.bytes;
  }

  template <class Sink>
  HT_INLINE void StepOfAny(Sink& sink) {
    const uint8_t* codes[8];
    float steps[8], minima[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      codes[j] = Next();
      steps[j] = kind.Unit() * parts.Step(block);
      minima[j] = Minimum();
    }
    sink.Steps(_mm256_setr_ps(steps[0], steps[1], steps[2], steps[3], steps[4], steps[5], steps[6],
                              steps[7]));
    if constexpr (kForm.minima) {
      sink.Minima(_mm256_setr_ps(minima[0], minima[1], minima[2], minima[3], minima[4], minima[5],
                                 minima[6], minima[7]));
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) kind.Give(sink, j, codes[j]);
  }
};

HT_END_TARGET

template <class Kind>
static RoundedKernels KernelsOf(const Grid& grid) {
  const auto of = []<class C>() { return kRounded<C, DotCodesHere<C>>; };
  if (grid.grouped->group == 0 || grid.block % kRoundedColumns == 0) {
    return of.template operator()<CodesOfGroupedRows<Kind, 0>>();
  }
  if (grid.block == 128) return of.template operator()<CodesOfGroupedRows<Kind, 128>>();
  if (grid.block == 64) return of.template operator()<CodesOfGroupedRows<Kind, 64>>();
  return of.template operator()<CodesOfGroupedRows<Kind, 32>>();
}

// The kernels of a grid of the family on the instruction set that this unit is compiled for.
static RoundedKernels RoundedOfGroups(const Grid& grid) {
  const GroupedSpec& spec = *grid.grouped;
  if (grid.block % 32 != 0) return {};
  if (spec.levels == GroupedLevels::kInteger) {
    if (spec.bits == 4) {
      return spec.symmetric ? KernelsOf<FourBits>(grid) : KernelsOf<FourBitsWithZero>(grid);
    }
    if (spec.bits == 8) {
      return spec.symmetric ? KernelsOf<EightBits>(grid) : KernelsOf<EightBitsWithZero>(grid);
    }
    return {};
  }
  return spec.bits == 4 ? KernelsOf<Levels16>(grid) : RoundedKernels{};
}

}  // namespace halftone

#endif
