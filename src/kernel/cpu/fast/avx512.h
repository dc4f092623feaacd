// Decoding in AVX-512 registers: the drivers that all fast kernels share.
//
// A fast kernel for a grid G specializes Avx512Decoder<G>:
//   static constexpr int kStep;       weights that Visit yields: a multiple of 16
//   template <class Sink> static void Visit(const uint8_t* blocks, Sink& sink);
// Visit calls sink(i, w) with the 16 weights from i on, i = 0, 16, ... kStep - 16 in this order,
// equal to G::DecodeBlock's in every bit. A product adds in the order of VectorOps::dot_panel: lane
// l of one accumulator takes columns l, l + 16, ... and the lanes are summed in the same tree. So a
// fast kernel changes no result, and one token alone gives what it gives in a batch.

#pragma once

#if defined(__x86_64__)

#if !defined(__clang__)
// GCC 12 warns of the deliberately undefined registers in its own header (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "grid/grid.h"

// Functions between HT_BEGIN_... and HT_END_TARGET may use those instructions. A unit that defines
// HT_VNNI_UNIT compiles everything for AVX-512 VNNI, so that what is written with AVX2 becomes part
// of functions with more.
#define HT_AVX2_NAMES "avx2,fma,f16c,bmi2"
#define HT_AVX512_NAMES HT_AVX2_NAMES ",avx512f,avx512bw,avx512dq,avx512vl"
#define HT_VNNI_NAMES HT_AVX512_NAMES ",avx512vnni"
#define HT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define HT_TARGET(names) \
  HT_PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define HT_END_TARGET _Pragma("clang attribute pop")
#else
#define HT_TARGET(names) _Pragma("GCC push_options") HT_PRAGMA(GCC target(names))
#define HT_END_TARGET _Pragma("GCC pop_options")
#endif
#define HT_BEGIN_VNNI HT_TARGET(HT_VNNI_NAMES)
#if defined(HT_VNNI_UNIT)
#define HT_BEGIN_AVX512 HT_BEGIN_VNNI
#define HT_BEGIN_AVX2 HT_BEGIN_VNNI
#else
#define HT_BEGIN_AVX512 HT_TARGET(HT_AVX512_NAMES)
#define HT_BEGIN_AVX2 HT_TARGET(HT_AVX2_NAMES)
#endif
#define HT_INLINE inline __attribute__((always_inline))

namespace halftone {

template <class G>
struct Avx512Decoder;

// How far ahead of the product the weights are asked for, in bytes. The processor's own prefetching
// stops at the borders of pages and leaves a third of the bandwidth unused.
inline constexpr int64_t kPrefetchBytes = 8192;

// Asks for the bytes [at, at + size) of `rows`. A prefetch of memory that does not exist does
// nothing; the address is a number, so that there is no pointer beyond an object's end.
HT_INLINE void Prefetch(const uint8_t* rows, int64_t at, int64_t size) {
  const uintptr_t from = reinterpret_cast<uintptr_t>(rows) + at;
  for (int64_t line = 0; line < size; line += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(from + line));
  }
}

// Asks for the bytes that lie `ahead` beyond [at, at + size).
HT_INLINE void PrefetchAhead(const uint8_t* rows, int64_t at, int64_t size,
                             int64_t ahead = kPrefetchBytes) {
  Prefetch(rows, at + ahead, size);
}

// Scales wait in memory to be spread over a register: a broadcast from memory costs only a load,
// while one from a register takes the shuffle port, which widening and looking up already fill.
// Without this the compiler keeps them in registers.
template <size_t kCount>
HT_INLINE void KeepInMemory(float (&values)[kCount]) {
  asm("" : "+m"(values));
}

HT_BEGIN_AVX512

// 0, 1, ... 15.
HT_INLINE __m512 Iota512() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// The four f16 at p. Converting straight from memory, too, spares the shuffle port.
HT_INLINE void FourHalves(const uint8_t* p, float (&values)[4]) {
  _mm_store_ps(values, _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  KeepInMemory(values);
}

// The two f16 at p in the even and odd lanes.
HT_INLINE __m512 HalfPairs512(const uint8_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_cvtph_ps(_mm256_set1_epi32(pair));
}

// 16 unsigned bytes as integers.
HT_INLINE __m512i Bytes512(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// 16 codes of 4 bits in the low bits of integers, whose higher bits do not matter.
HT_INLINE __m512 LookUp512(__m512 levels, __m512i codes) {
  return _mm512_permutexvar_ps(codes, levels);
}

struct DotSink512 {
  const float* x;
  __m512 sum;
  HT_INLINE void operator()(int at, __m512 w) {
    sum = _mm512_fmadd_ps(_mm512_loadu_ps(x + at), w, sum);
  }
};

struct StoreSink512 {
  float* out;
  HT_INLINE void operator()(int at, __m512 w) { _mm512_storeu_ps(out + at, w); }
};

// The sums of four vectors' lanes.
HT_INLINE __m128 Sums512(__m512 a, __m512 b, __m512 c, __m512 e) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 ce = _mm512_add_ps(_mm512_unpacklo_ps(c, e), _mm512_unpackhi_ps(c, e));
  const __m512d ab64 = _mm512_castps_pd(ab), ce64 = _mm512_castps_pd(ce);
  const __m512 blocks = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab64, ce64)),
                                      _mm512_castpd_ps(_mm512_unpackhi_pd(ab64, ce64)));
  const __m256 half =
      _mm256_add_ps(_mm512_castps512_ps256(blocks), _mm512_extractf32x8_ps(blocks, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

template <class G>
void DecodeAvx512(const Grid& /*grid*/, const uint8_t* blocks, int64_t n, float* weights) {
  using K = Avx512Decoder<G>;
  constexpr int64_t kBytes = K::kStep / G::kBlock * G::kBytes;
  int64_t i = 0;
  for (; i + K::kStep <= n; i += K::kStep, blocks += kBytes) {
    StoreSink512 sink{weights + i};
    K::Visit(blocks, sink);
  }
  if (i < n) {
    uint8_t padded[kBytes] = {};
    float decoded[K::kStep];
    std::memcpy(padded, blocks, static_cast<size_t>((n - i) / G::kBlock * G::kBytes));
    StoreSink512 sink{decoded};
    K::Visit(padded, sink);
    std::copy(decoded, decoded + (n - i), weights + i);
  }
}

// Four rows at a time: each row's sum is one chain of multiply-adds, which needs others beside it.
template <class G>
void DotRowsAvx512(const Grid& /*grid*/, const uint8_t* rows, int64_t row_bytes, int64_t count,
                   const float* x, int64_t cols, float* y) {
  using K = Avx512Decoder<G>;
  constexpr int64_t kBytes = K::kStep / G::kBlock * G::kBytes;
  const int64_t steps = cols / K::kStep, rest = cols - steps * K::kStep;
  for (int64_t r = 0; r < count; r += 4, rows += 4 * row_bytes) {
    const int64_t n = std::min<int64_t>(4, count - r);
    const uint8_t* a = rows;
    const uint8_t* b = rows + std::min<int64_t>(1, n - 1) * row_bytes;
    const uint8_t* c = rows + std::min<int64_t>(2, n - 1) * row_bytes;
    const uint8_t* e = rows + std::min<int64_t>(3, n - 1) * row_bytes;
    DotSink512 sa{x, _mm512_setzero_ps()}, sb = sa, sc = sa, se = sa;
    for (int64_t i = 0; i < steps; ++i) {
      PrefetchAhead(rows, i * 4 * kBytes, 4 * kBytes);
      K::Visit(a + i * kBytes, sa);
      K::Visit(b + i * kBytes, sb);
      K::Visit(c + i * kBytes, sc);
      K::Visit(e + i * kBytes, se);
      sa.x = sb.x = sc.x = se.x = x + (i + 1) * K::kStep;
    }
    if (rest > 0) {
      float padded_x[K::kStep] = {};
      std::copy(x + cols - rest, x + cols, padded_x);
      const auto visit = [&](const uint8_t* row, DotSink512& sink) {
        uint8_t padded[kBytes] = {};
        std::memcpy(padded, row + steps * kBytes,
                    static_cast<size_t>(rest / G::kBlock * G::kBytes));
        sink.x = padded_x;
        K::Visit(padded, sink);
      };
      visit(a, sa), visit(b, sb), visit(c, sc), visit(e, se);
    }
    float sums[4];
    _mm_storeu_ps(sums, Sums512(sa.sum, sb.sum, sc.sum, se.sum));
    std::copy(sums, sums + n, y + r);
  }
}

HT_END_TARGET

}  // namespace halftone

#endif
