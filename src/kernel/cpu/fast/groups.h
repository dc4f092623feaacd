// The grids of grid/grouped.h in products with rounded activations: 4- and 8-bit codes in groups
// that are whole multiples of 32.
//
// Levels that are no integers (NF4, FP4, E2M1) become bytes, the nearest whole multiples of a unit
// that is chosen for them: exact for E2M1, and for FP4 but for its smallest level; NF4's are
// 1/254 of the largest away at most (docs/performance.md).

#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "grid/grouped.h"
#include "kernel/cpu/fast/code_kernels.h"

#if defined(__x86_64__)

namespace halftone {

// The 16 levels of a grid as bytes: level = unit * code.
struct LevelBytes {
  alignas(16) int8_t codes[16];
  float unit;
};

// With the largest level at most 127 units, and the unit that leaves the least sum of squares.
inline LevelBytes BytesOfLevels(std::span<const float> levels) {
  float largest = 0;
  for (const float level : levels) largest = std::max(largest, std::fabs(level));
  LevelBytes best{};
  double least = std::numeric_limits<double>::infinity();
  for (int units = 64; units <= 127; ++units) {
    LevelBytes bytes{};
    bytes.unit = largest / static_cast<float>(units);
    double error = 0;
    for (int code = 0; code < 16; ++code) {
      const float whole = std::nearbyint(levels[code] / bytes.unit);
      bytes.codes[code] = static_cast<int8_t>(whole);
      error += std::pow(levels[code] - whole * bytes.unit, 2);
    }
    if (error >= least) continue;
    least = error;
    best = bytes;
  }
  return best;
}

inline const LevelBytes& BytesOf(const Grid& grid) {
  switch (grid.grouped->levels) {
    case GroupedLevels::kNf4: {
      static const auto nf4 = BytesOfLevels(LevelsOfCodes(grid));
      return nf4;
    }
    case GroupedLevels::kFp4: {
      static const auto fp4 = BytesOfLevels(LevelsOfCodes(grid));
      return fp4;
    }
    default: {
      static const auto e2m1 = BytesOfLevels(LevelsOfCodes(grid));
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

  HT_INLINE float Step(const uint8_t* block) const { return _mm_cvtss_f32(Steps<1>(block)); }
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
// are zeros), and the codes of 32 columns or, unsigned, of 64.
struct FourBits {
  static constexpr PanelForm kForm{.offset = 8};
  static constexpr int kBits = 4;
  HT_INLINE explicit FourBits(const Grid& /*grid*/) {}
  HT_INLINE __m256i Of(const uint8_t* codes) const { return Nibbles256(codes); }
#if defined(HT_VNNI_UNIT)
  HT_INLINE __m512i PairOf(const uint8_t* codes) const { return NibblePairs512(Load256(codes)); }
#endif
  HT_INLINE float Unit() const { return 1; }
};

struct FourBitsWithZero : FourBits {
  static constexpr PanelForm kForm{.minima = true};
  static constexpr float kZero = 0;
  HT_INLINE explicit FourBitsWithZero(const Grid& grid) : FourBits(grid) {}
};

struct EightBits {
  static constexpr PanelForm kForm{.wide = true};
  static constexpr int kBits = 8;
  HT_INLINE explicit EightBits(const Grid& /*grid*/) {}
  HT_INLINE __m256i Of(const uint8_t* codes) const {
    return _mm256_xor_si256(Load256(codes), _mm256_set1_epi8(-128));
  }
#if defined(HT_VNNI_UNIT)
  HT_INLINE __m512i PairOf(const uint8_t* codes) const { return _mm512_loadu_si512(codes); }
#endif
  HT_INLINE float Unit() const { return 1; }
};

struct EightBitsWithZero : EightBits {
  static constexpr PanelForm kForm{.minima = true, .wide = true};
  static constexpr float kZero = 128;
  HT_INLINE explicit EightBitsWithZero(const Grid& grid) : EightBits(grid) {}
};

struct Levels16 {
  static constexpr PanelForm kForm{.wide = true};
  static constexpr int kBits = 4;
  __m128i levels;
  float unit;

  HT_INLINE explicit Levels16(const Grid& grid) {
    const LevelBytes& bytes = BytesOf(grid);
    levels = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes.codes));
    unit = bytes.unit;
  }
  HT_INLINE __m256i Of(const uint8_t* codes) const { return LookUp256(levels, Nibbles256(codes)); }
#if defined(HT_VNNI_UNIT)
  HT_INLINE __m512i PairOf(const uint8_t* codes) const {
    return LookUp512(levels, NibblePairs512(Load256(codes)));
  }
#endif
  HT_INLINE float Unit() const { return unit; }
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

  HT_INLINE CodesOfGroupedRows(const Grid& grid, const uint8_t* row, int64_t stretch)
      : kind(grid), parts(grid), group(grid.block) {
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
      sink.One(g, kind.Of(codes), kind.Unit() * parts.Step(block), Minimum());
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
      sink.Pair(first + p, kind.PairOf(codes + p * kBytes));
#else
      sink(2 * (first + p), kind.Of(codes + p * kBytes));
      sink(2 * (first + p) + 1, kind.Of(codes + p * kBytes + kBytes / 2));
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
    for (int j = 0; j < 8; ++j) sink(j, kind.Of(codes[j]));
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
