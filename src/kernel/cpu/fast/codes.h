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

#if defined(HT_VNNI_UNIT)

// Bits of a where `mask`, the same for each byte, is set; else of b.
HT_INLINE __m512i Select512(int mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xCA);
}
HT_INLINE __m512i Nibbles512Shifts() {
  return _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
}

// 32 bytes, twice; and a number for the 16-bit or 32-bit words of each half.
HT_INLINE __m512i Twice512(const uint8_t* p) { return _mm512_broadcast_i64x4(Load256(p)); }
HT_INLINE __m512i Halves16(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi16(static_cast<int16_t>(low)),
                            _mm256_set1_epi16(static_cast<int16_t>(high)), 1);
}
HT_INLINE __m512i Halves32(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
}

// Fields of kBits bits: those of each byte of the two halves of `twice` that begin at bits `low`
// and `high`.
template <int kBits>
HT_INLINE __m512i Fields512(__m512i twice, int low, int high) {
  return _mm512_and_si512(_mm512_srlv_epi16(twice, Halves16(low, high)),
                          _mm512_set1_epi8((1 << kBits) - 1));
}

// The same with one bit more on top: bit `low_bit` and `high_bit` of each byte of `top`.
template <int kBits>
HT_INLINE __m512i Fields512(__m512i twice, int low, int high, __m512i top, int low_bit,
                            int high_bit) {
  const __m512i q = _mm512_srlv_epi16(twice, Halves16(low, high));
  // Rotated, a byte's bit comes to where it belongs, others somewhere else.
  const __m512i turned =
      _mm512_rolv_epi32(top, Halves32((kBits - low_bit) & 31, (kBits - high_bit) & 31));
  const __m512i both = Select512((1 << kBits) - 1, q, turned);
  return _mm512_and_si512(both, _mm512_set1_epi8((2 << kBits) - 1));
}

// The low and the high 4 bits of each half's 16 bytes, as Nibbles256 of either.
HT_INLINE __m512i NibblePairs512(__m256i bytes) {
  const __m512i twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                                 _mm512_castsi256_si512(bytes));
  return _mm512_and_si512(_mm512_srlv_epi32(twice, Nibbles512Shifts()), _mm512_set1_epi8(15));
}

// The same of the two of eight blocks of kBytes bytes each at `blocks` that are pair p, whose codes
// begin kHeader bytes into them. Reads inside the eight.
template <int kBytes, int kHeader>
HT_INLINE __m512i NibblePairs512(const uint8_t* blocks, int p) {
  static_assert(kBytes % 2 == 0 && kHeader % 2 == 0 && 2 * kBytes <= 64);
  const int from = std::min(2 * kBytes * p, 8 * kBytes - 64);
  const int first = (2 * kBytes * p + kHeader - from) / 2, second = first + kBytes / 2;
  const __m512i steps = _mm512_set4_epi64(0x0007000600050004, 0x0003000200010000,
                                          0x0007000600050004, 0x0003000200010000);
  const __m512i index = _mm512_add_epi16(steps, Halves16(first, second));
  const __m512i twice = _mm512_permutexvar_epi16(index, _mm512_loadu_si512(blocks + from));
  return _mm512_and_si512(_mm512_srlv_epi32(twice, Nibbles512Shifts()), _mm512_set1_epi8(15));
}

// 16 bytes as numbers.
HT_INLINE __m512 Unsigned512(__m128i bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
HT_INLINE __m512 Signed512(__m128i bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

// The levels, with 128 added, of 64 codes.
HT_INLINE __m512i LookUp512(__m128i levels, __m512i codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_xor_si128(levels, _mm_set1_epi8(-128))),
                             codes);
}

#endif

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

  HT_INLINE CodesOfBlocks(const Grid& /*grid*/, const uint8_t* row, int64_t stretch, int /*plane*/)
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
