// Compiled once for each instruction set by Highway's foreach_target.
//
// Registers set the shape of the product's inner loop: a tile of kTokens x 4 outputs keeps one
// accumulator each, so that a step along the columns loads kTokens + 4 vectors for 4 * kTokens
// multiply-adds; AVX-512 (32 registers) holds 6 x 4, AVX2 (16) 3 x 4. The lanes run along the
// columns, thus neither operand is transposed, and the price is one horizontal sum for each output.

#include "kernel/cpu/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// The three sets of kernel/cpu/isa.h and no more: each costs compile time.
#define HWY_COMPILE_ALL_ATTAINABLE
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/cpu/vector_ops.cc"
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr D d;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

constexpr int kTokens = kLanes >= 16 ? 6 : 3;

// The sum of all lanes, halves first.
HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(d, v)); }

// {Sum(a), Sum(b), Sum(c), Sum(e)} stored at `out`, in less than half the instructions.
HWY_INLINE void StoreSums(V a, V b, V c, V e, float* out) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const hn::Repartition<double, D> d64;
  const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto ab64 = hn::BitCast(d64, ab);
  const auto ce64 = hn::BitCast(d64, ce);
  const V blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab64, ce64)),
                           hn::BitCast(d, hn::InterleaveUpper(d64, ab64, ce64)));
#if HWY_TARGET == HWY_AVX3
  const hn::Half<D> d8;
  const auto half = hn::Add(hn::LowerHalf(d8, blocks), hn::UpperHalf(d8, blocks));
#else
  const D d8;
  const V half = blocks;
#endif
  const hn::Half<decltype(d8)> d4;
  hn::StoreU(hn::Add(hn::LowerHalf(d4, half), hn::UpperHalf(d4, half)), d4, out);
#else
  out[0] = Sum(a);
  out[1] = Sum(b);
  out[2] = Sum(c);
  out[3] = Sum(e);
#endif
}

// A stretch [begin, end) of the columns. A long row is worked off in stretches, so that a tile's
// operands fit the first-level cache; between them the accumulators wait in `partial`, unsummed,
// and the result is the same.
struct Stretch {
  int64_t begin, end;
  bool first, last;
};

// A tile of T tokens and R rows. partial: T * R vectors, used unless the stretch is the whole row.
template <int T, int R>
HWY_INLINE void DotTile(const float* HWY_RESTRICT w, int64_t w_stride, const float* HWY_RESTRICT x,
                        int64_t x_stride, const Stretch& stretch, float* HWY_RESTRICT partial,
                        float* HWY_RESTRICT y, int64_t y_stride) {
  V sums[T][R];
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      sums[t][r] = stretch.first ? hn::Zero(d) : hn::Load(d, partial + (t * R + r) * kLanes);
    }
  }
  const auto step = [&](const float* wi, int64_t ws, const float* xi, int64_t xs) HWY_ATTR {
    V wv[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) wv[r] = hn::LoadU(d, wi + r * ws);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      const V xv = hn::LoadU(d, xi + t * xs);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums[t][r] = hn::MulAdd(xv, wv[r], sums[t][r]);
    }
  };
  const int64_t whole = stretch.begin + (stretch.end - stretch.begin) / kLanes * kLanes;
  for (int64_t i = stretch.begin; i < whole; i += kLanes) step(w + i, w_stride, x + i, x_stride);
  if (whole < stretch.end) {
    // The last columns, padded with zeros: neither row may be read beyond its end.
    float wt[R * kLanes] = {}, xt[T * kLanes] = {};
    const size_t bytes = static_cast<size_t>(stretch.end - whole) * sizeof(float);
    for (int r = 0; r < R; ++r) std::memcpy(wt + r * kLanes, w + r * w_stride + whole, bytes);
    for (int t = 0; t < T; ++t) std::memcpy(xt + t * kLanes, x + t * x_stride + whole, bytes);
    step(wt, kLanes, xt, kLanes);
  }
  if (!stretch.last) {
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) hn::Store(sums[t][r], d, partial + (t * R + r) * kLanes);
    }
    return;
  }
  for (int t = 0; t < T; ++t) {
    if constexpr (R % 4 == 0) {
      for (int r = 0; r < R; r += 4) {
        StoreSums(sums[t][r], sums[t][r + 1], sums[t][r + 2], sums[t][r + 3], y + t * y_stride + r);
      }
    } else {
      static_assert(R == 1);
      float four[4];
      StoreSums(sums[t][0], sums[t][0], sums[t][0], sums[t][0], four);
      y[t * y_stride] = four[0];
    }
  }
}

// Rows that one call of DotTokens may have: their accumulators wait on the stack.
constexpr int64_t kRowBlock = 48;
// Columns of a stretch: kTokens + 4 rows of them fill half of a first-level cache.
constexpr int64_t kStretchFloats = 640;

// T tokens by up to kRowBlock rows. The tokens' stretch stays in the first-level cache while the
// rows pass by.
template <int T>
void DotTokens(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride,
               int64_t cols, float* y, int64_t y_stride) {
  constexpr int kRows = T == 1 ? 8 : 4;
  alignas(64) float partial[kRowBlock * T * kLanes];
  const int64_t stretches =
      T < kTokens ? 1 : std::max<int64_t>(1, (cols + kStretchFloats / 2) / kStretchFloats);
  const int64_t length = (cols / stretches + 15) / 16 * 16;
  for (int64_t i = 0; i < stretches; ++i) {
    const bool last = i + 1 == stretches;
    const Stretch stretch{i * length, last ? cols : (i + 1) * length, i == 0, last};
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
      DotTile<T, kRows>(w + r * w_stride, w_stride, x, x_stride, stretch, partial + r * T * kLanes,
                        y + r, y_stride);
    }
    for (; r < rows; ++r) {
      DotTile<T, 1>(w + r * w_stride, w_stride, x, x_stride, stretch, partial + r * T * kLanes,
                    y + r, y_stride);
    }
  }
}

void DotPanel(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride,
              int64_t tokens, int64_t cols, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; r += kRowBlock) {
    const int64_t n = std::min(kRowBlock, rows - r);
    const float* wr = w + r * w_stride;
    int64_t t = 0;
    const auto run = [&]<int T>() HWY_ATTR {
      for (; t + T <= tokens; t += T) {
        DotTokens<T>(wr, w_stride, n, x + t * x_stride, x_stride, cols, y + t * y_stride + r,
                     y_stride);
      }
    };
    run.template operator()<kTokens>();
    if constexpr (kTokens > 4) run.template operator()<4>();
    run.template operator()<2>();
    run.template operator()<1>();
  }
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t width, float* y) {
  const hn::Rebind<double, hn::Half<D>> d64;
  const hn::Half<D> half;
  constexpr int64_t kStep = hn::MaxLanes(hn::Half<D>());
  auto squares = hn::Zero(d64);
  int64_t i = 0;
  for (; i + kStep <= width; i += kStep) {
    const auto v = hn::PromoteTo(d64, hn::LoadU(half, x + i));
    squares = hn::MulAdd(v, v, squares);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d64, squares));
  for (; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float mean = static_cast<float>(sum / static_cast<double>(width));
  const float scale = 1.0f / std::sqrt(mean + eps);
  const V scales = hn::Set(d, scale);
  for (i = 0; i + kLanes <= width; i += kLanes) {
    const V v = hn::Mul(hn::LoadU(d, x + i), scales);
    hn::StoreU(hn::Mul(v, hn::LoadU(d, weight + i)), d, y + i);
  }
  for (; i < width; ++i) y[i] = x[i] * scale * weight[i];
}

void Add(float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  }
  for (; i < n; ++i) x[i] += y[i];
}

// gate / (1 + exp(-x)) * up.
HWY_INLINE V Gated(V gate, V x, V up) {
  // Highway's exponential is undefined beyond f32's range; there the result is below 1e-36 in
  // magnitude, and taken for 0: NaN where the gate is infinite.
  const V floor = hn::Set(d, -88.0f);
  const V e = hn::Exp(d, hn::Neg(hn::Max(x, floor)));
  const V gated = hn::Div(gate, hn::Add(hn::Set(d, 1.0f), e));
  return hn::Mul(hn::IfThenElse(hn::Lt(x, floor), hn::Mul(gate, hn::Set(d, -0.0f)), gated), up);
}

HWY_INLINE V Silu(V gate, V up) { return Gated(gate, gate, up); }

// tanh(z) = 2 / (1 + exp(-2 z)) - 1 turns gelu's approximation into this.
HWY_INLINE V Gelu(V gate, V up) {
  const V square = hn::Mul(gate, gate);
  const V inner = hn::MulAdd(square, hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  const V x = hn::Mul(hn::Mul(gate, inner), hn::Set(d, 1.5957691216057308f));
  return Gated(gate, x, up);
}

template <V (*kGate)(V, V)>
HWY_INLINE void MultiplyGated(float* gate, const float* up, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(kGate(hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, gate + i);
  }
  if (i < n) {
    // The same arithmetic on a padded vector, so that a value's result does not depend on its
    // place.
    float g[kLanes] = {}, u[kLanes] = {};
    std::copy(gate + i, gate + n, g);
    std::copy(up + i, up + n, u);
    hn::StoreU(kGate(hn::LoadU(d, g), hn::LoadU(d, u)), d, g);
    std::copy(g, g + (n - i), gate + i);
  }
}

void SiluMultiply(float* gate, const float* up, int64_t n) { MultiplyGated<&Silu>(gate, up, n); }
void GeluMultiply(float* gate, const float* up, int64_t n) { MultiplyGated<&Gelu>(gate, up, n); }

// Highway's functions need not keep what is no number: what is not finite becomes NaN.
HWY_INLINE V Capped(V x, V caps) {
  const V v = hn::Div(x, caps);
  return hn::Mul(caps, hn::MulAdd(v, hn::Zero(d), hn::Tanh(d, v)));
}

void SoftCap(float* x, float cap, int64_t n) {
  const V caps = hn::Set(d, cap);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(Capped(hn::LoadU(d, x + i), caps), d, x + i);
  }
  if (i < n) {
    float rest[kLanes] = {};
    std::copy(x + i, x + n, rest);
    hn::StoreU(Capped(hn::LoadU(d, rest), caps), d, rest);
    std::copy(rest, rest + (n - i), x + i);
  }
}

void RotateInterleaved(float* x, const float* cosines, const float* sines, int64_t pairs) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosines[i] - b * sines[i];
    x[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

void RotateHalves(float* x, const float* cosines, const float* sines, int64_t pairs) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[i], b = x[pairs + i];
    x[i] = a * cosines[i] - b * sines[i];
    x[pairs + i] = b * cosines[i] + a * sines[i];
  }
}

extern const VectorOps kVectorOps;
constexpr VectorOps kVectorOps = {&DotPanel,          &RmsNorm,      &Add,
                                  &SiluMultiply,      &GeluMultiply, &SoftCap,
                                  &RotateInterleaved, &RotateHalves};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

const VectorOps& VectorOpsFor(Isa isa) {
  switch (isa) {
#if HWY_TARGETS & HWY_AVX3
    case Isa::kAvx512:
      return N_AVX3::kVectorOps;
#endif
#if HWY_TARGETS & HWY_AVX2
    case Isa::kAvx2:
      return N_AVX2::kVectorOps;
#endif
    default:
      return HWY_STATIC_DISPATCH(kVectorOps);
  }
}

}  // namespace halftone
#endif
