// Products with rounded activations (kernel/cpu/rounded.h) in registers: what all grids share.
//
// A grid G with such a kernel specializes Codes<G>, for 256 columns a step:
//   static constexpr PanelForm kForm;       as stated below; offset 0 where codes are signed
//   template <class Sink> static void Visit(const uint8_t* blocks, Sink& sink);
// Visit calls first sink.Steps(s) with the steps of the 8 groups of 32, or sink.Steps(low, high)
// with those of the 16 groups of 16; then, if the form has minima, sink.Minima likewise; then
// sink(j, c) for j = 0 ... 7 with the codes of columns 32j to 32j + 31 in their order. A weight is
//   step * (code - offset) - minimum
// Where this is compiled for AVX-512 VNNI, Visit may instead call sink.Pair(p, c) for p = 0 ... 3
// with the codes of columns 64p to 64p + 63, signed ones with 128 added, and it must give the steps
// and minima of 16 groups as one vector each.
// Grids whose blocks are one group of 32 derive from CodesOfGroups<G>, below, and say what one
// block holds. One description serves all instruction sets: it is AVX2 throughout, and compiled
// once more with AVX-512 VNNI around it (kernel/cpu/rounded_unit.cc.in). code_kernels.h makes the
// kernels.

#pragma once

#include "kernel/cpu/fast/avx2.h"
#include "kernel/cpu/fast/pairs.h"
#include "kernel/cpu/rounded.h"

#if defined(__x86_64__)

namespace halftone {

template <class G>
struct Codes;

HT_BEGIN_AVX2

HT_INLINE __m256i Load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
HT_INLINE __m128i Load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// The low and the high 4 bits of 16 bytes, one after the other (grid/nibbles.h).
HT_INLINE __m256i Nibbles256(const uint8_t* p) {
  // Bits of neighbouring bytes that shifting 32 at a time brings in are masked off.
  const __m256i shifted = _mm256_srlv_epi32(_mm256_broadcastsi128_si256(Load128(p)),
                                            _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

// Codes of 5 bits, the fifth in a word of their own.
HT_INLINE __m256i FiveBits256(const uint8_t* fifth, const uint8_t* four) {
  int32_t word;
  std::memcpy(&word, fifth, sizeof word);
  // Byte e / 8 of the word to byte e, of which bit e % 8 counts.
  const __m256i bytes = _mm256_shuffle_epi8(
      _mm256_set1_epi32(word),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
  return _mm256_or_si256(Nibbles256(four), _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

// 16 levels, `factor` times which are integers, as bytes; and the levels of 32 codes.
HT_INLINE __m128i Levels256(const float* levels, int factor) {
  alignas(16) int8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<int8_t>(levels[i] * factor);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}
HT_INLINE __m256i LookUp256(__m128i levels, __m256i codes) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), codes);
}

// The f16 numbers at p, p + stride ... p + 7 * stride.
template <int kStride>
HT_INLINE __m256 Halves256(const uint8_t* p) {
#if defined(HT_VNNI_UNIT)
  if constexpr (kStride == 18) {
    // All eight are in the first 128 bytes of 144.
    const __m512i index = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
    const __m512i halves =
        _mm512_permutex2var_epi16(_mm512_loadu_si512(p), index, _mm512_loadu_si512(p + 64));
    return _mm256_cvtph_ps(_mm512_castsi512_si128(halves));
  }
#endif
  int16_t h[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) std::memcpy(&h[i], p + i * kStride, sizeof h[i]);
  return _mm256_cvtph_ps(_mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]));
}

// 8 bytes as numbers.
HT_INLINE __m256 Unsigned256(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
HT_INLINE __m256 Signed256(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

// Each of two neighbouring groups of 16 over the lanes of its columns: pair j % 4 of 8 numbers.
HT_INLINE __m256 SpreadPair(__m256 eight, int j) {
  const __m256i index =
      _mm256_add_epi32(_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), _mm256_set1_epi32(2 * (j % 4)));
  return _mm256_permutevar8x32_ps(eight, index);
}

// What grids share whose blocks are one group of 32 with an f16 step in front. Codes<G>::Of(block)
// gives the codes; Step, Steps, Minimum and Minima may be its own, and PairOf(blocks, p), which
// gives those of a pair of eight blocks.
template <class G>
struct CodesOfGroups {
  static_assert(G::kBlock == 32);
  HT_INLINE static float Step(const uint8_t* block) { return Half256(block); }
  HT_INLINE static __m256 Steps(const uint8_t* blocks) { return Halves256<G::kBytes>(blocks); }
  HT_INLINE static float Minimum(const uint8_t* /*block*/) { return 0; }
  HT_INLINE static __m256 Minima(const uint8_t* /*blocks*/) { return _mm256_setzero_ps(); }

  template <class Sink>
  HT_INLINE static void Visit(const uint8_t* blocks, Sink& sink) {
    using C = Codes<G>;
    sink.Steps(C::Steps(blocks));
    if constexpr (C::kForm.minima) sink.Minima(C::Minima(blocks));
    if constexpr (requires { C::PairOf(blocks, 0); }) {
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) sink.Pair(p, C::PairOf(blocks, p));
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sink(j, C::Of(blocks + j * G::kBytes));
    }
  }
};

// How codes of one row and of a token are multiplied, four columns to a sum of 32 bits. Signed
// codes (PanelForm::wide) are made unsigned by adding kOffset first, where there is one.

// Bytes' products in pairs of 16 bits, which must hold them: a signed code's magnitude is taken and
// its sign goes to the activation.
struct ProductAvx2 {
  static constexpr int kOffset = 0;
  static constexpr int64_t kTurned = 8;  // rows that a panel's filling turns at a time
  template <bool kSigned>
  HT_INLINE static __m256i Of(__m256i codes, __m256i x) {
    return _mm256_madd_epi16(Pairs<kSigned>(codes, x), _mm256_set1_epi16(1));
  }
  template <bool kSigned>
  HT_INLINE static __m256i Pairs(__m256i codes, __m256i x) {
    return kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
                   : _mm256_maddubs_epi16(codes, x);
  }
};

// The processor's dot products of bytes; the codes come first, unsigned.
struct ProductVnni {
  static constexpr int kOffset = 128;
  static constexpr int64_t kTurned = 16;
};

// The form of a panel for a product.
template <class C, class Product>
constexpr PanelForm FormFor() {
  PanelForm form = C::kForm;
  if (form.wide) form.offset = Product::kOffset;
  return form;
}

// Reads rows of a grid whose blocks are all alike, 256 columns at a time.
template <class G>
struct CodesOfBlocks {
  static constexpr PanelForm kForm = Codes<G>::kForm;
  static constexpr int64_t kBytes = kRoundedColumns / G::kBlock * G::kBytes;
  const uint8_t* at;

  HT_INLINE CodesOfBlocks(const Grid& /*grid*/, const uint8_t* row, int64_t stretch)
      : at(row + stretch * kBytes) {}

  template <class Sink>
  HT_INLINE void Step(Sink& sink) {
    Codes<G>::Visit(at, sink);
    at += kBytes;
  }
  // The last columns, fewer than a step. Only of grids whose blocks are shorter than a step.
  template <class Sink>
  HT_INLINE void Rest(Sink& sink, int64_t columns) {
    if constexpr (G::kBlock < kRoundedColumns) {
      sink.Clear();
      for (int g = 0; g < columns / G::kBlock; ++g, at += G::kBytes) {
        sink.One(g, Codes<G>::Of(at), Codes<G>::Step(at), Codes<G>::Minimum(at));
      }
    }
  }
};

HT_END_TARGET

}  // namespace halftone

#endif
