// Decoding in AVX2 registers; see avx512.h. Avx2Decoder<G>::Visit yields 8 weights at a time.

#pragma once

#if defined(__x86_64__)

#include "kernel/cpu/fast/avx512.h"

namespace halftone {

template <class G>
struct Avx2Decoder;

HT_BEGIN_AVX2

// The f16 at p.
HT_INLINE float Half256(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, sizeof h);
  return _cvtsh_ss(h);
}

// 8 unsigned bytes as integers.
HT_INLINE __m256i Bytes256(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

// The low 4 bits of each integer as numbers.
HT_INLINE __m256 LowNibbles256(__m256i bytes) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(bytes, _mm256_set1_epi32(15)));
}

// Bits 4 and up of each integer, whose other bits are those of one byte, as numbers.
HT_INLINE __m256 HighNibbles256(__m256i bytes) {
  return _mm256_cvtepi32_ps(_mm256_srli_epi32(bytes, 4));
}

struct DotSink256 {
  const float* x;
  __m256 sum;
  HT_INLINE void operator()(int at, __m256 w) {
    sum = _mm256_fmadd_ps(_mm256_loadu_ps(x + at), w, sum);
  }
};

struct StoreSink256 {
  float* out;
  HT_INLINE void operator()(int at, __m256 w) { _mm256_storeu_ps(out + at, w); }
};

// The sums of four vectors' lanes.
HT_INLINE __m128 Sums256(__m256 a, __m256 b, __m256 c, __m256 e) {
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  const __m256 ce = _mm256_add_ps(_mm256_unpacklo_ps(c, e), _mm256_unpackhi_ps(c, e));
  const __m256d ab64 = _mm256_castps_pd(ab), ce64 = _mm256_castps_pd(ce);
  const __m256 half = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab64, ce64)),
                                    _mm256_castpd_ps(_mm256_unpackhi_pd(ab64, ce64)));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

template <class G>
void DecodeAvx2(const Grid& /*grid*/, const uint8_t* blocks, int64_t n, float* weights) {
  using K = Avx2Decoder<G>;
  constexpr int64_t kBytes = K::kStep / G::kBlock * G::kBytes;
  int64_t i = 0;
  for (; i + K::kStep <= n; i += K::kStep, blocks += kBytes) {
    StoreSink256 sink{weights + i};
    K::Visit(blocks, sink);
  }
  if (i < n) {
    uint8_t padded[kBytes] = {};
    float decoded[K::kStep];
    std::memcpy(padded, blocks, static_cast<size_t>((n - i) / G::kBlock * G::kBytes));
    StoreSink256 sink{decoded};
    K::Visit(padded, sink);
    std::copy(decoded, decoded + (n - i), weights + i);
  }
}

// Four rows at a time: each row's sum is one chain of multiply-adds, which needs others beside it.
template <class G>
void DotRowsAvx2(const Grid& /*grid*/, const uint8_t* rows, int64_t row_bytes, int64_t count,
                 const float* x, int64_t cols, float* y) {
  using K = Avx2Decoder<G>;
  constexpr int64_t kBytes = K::kStep / G::kBlock * G::kBytes;
  const int64_t steps = cols / K::kStep, rest = cols - steps * K::kStep;
  for (int64_t r = 0; r < count; r += 4, rows += 4 * row_bytes) {
    const int64_t n = std::min<int64_t>(4, count - r);
    const uint8_t* a = rows;
    const uint8_t* b = rows + std::min<int64_t>(1, n - 1) * row_bytes;
    const uint8_t* c = rows + std::min<int64_t>(2, n - 1) * row_bytes;
    const uint8_t* e = rows + std::min<int64_t>(3, n - 1) * row_bytes;
    DotSink256 sa{x, _mm256_setzero_ps()}, sb = sa, sc = sa, se = sa;
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
      const auto visit = [&](const uint8_t* row, DotSink256& sink) {
        uint8_t padded[kBytes] = {};
        std::memcpy(padded, row + steps * kBytes,
                    static_cast<size_t>(rest / G::kBlock * G::kBytes));
        sink.x = padded_x;
        K::Visit(padded, sink);
      };
      visit(a, sa), visit(b, sb), visit(c, sc), visit(e, se);
    }
    float sums[4];
    _mm_storeu_ps(sums, Sums256(sa.sum, sb.sum, sc.sum, se.sum));
    std::copy(sums, sums + n, y + r);
  }
}

HT_END_TARGET

}  // namespace halftone

#endif
