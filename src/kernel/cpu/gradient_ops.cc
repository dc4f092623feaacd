// Compiled once for each instruction set by Highway's foreach_target.
//
// Products keep a tile of kRows x kVectors accumulators along the columns of c; b's part of the
// tile, kDepth rows of it, is copied together first, into a block: rows of a wide matrix lie a
// power of two apart and would push one another out of the first-level cache. A panel is such
// blocks of all columns, one behind the other.

#include "kernel/cpu/gradient_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

// The three sets of kernel/cpu/isa.h and no more: each costs compile time.
#define HWY_COMPILE_ALL_ATTAINABLE
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/cpu/gradient_ops.cc"
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

constexpr int kRows = 6;
constexpr int kVectors = kLanes >= 16 ? 4 : 2;
constexpr int64_t kColumns = kVectors * kLanes;
constexpr int64_t kDepth = kPanelDepth;

// A block of b, [kDepth, kColumns] with zeros behind its last column.
using Block = float[kDepth * kColumns];

void CopyBlock(const MatrixView& b, int64_t depth, int64_t columns, float* block) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* from = b.data + k * b.row;
    float* to = block + k * kColumns;
    if (columns == kColumns) {
      for (int v = 0; v < kVectors; ++v) {
        hn::Store(hn::LoadU(d, from + v * kLanes), d, to + v * kLanes);
      }
    } else {
      std::copy_n(from, columns, to);
      std::fill(to + columns, to + kColumns, 0.0f);
    }
  }
}

// T rows of c by kColumns columns.
template <int T>
HWY_INLINE void AddTile(const MatrixView& a, const float* HWY_RESTRICT block, int64_t depth,
                        float factor, float* HWY_RESTRICT c, int64_t c_row) {
  V sums[T][kVectors];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kVectors; ++v) sums[t][v] = hn::Zero(d);
  }
  const float* at = a.data;
  for (int64_t k = 0; k < depth; ++k, at += a.col) {
    V bv[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) bv[v] = hn::Load(d, block + k * kColumns + v * kLanes);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const V av = hn::Set(d, at[t * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[t][v] = hn::MulAdd(av, bv[v], sums[t][v]);
    }
  }
  const V factors = hn::Set(d, factor);
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + t * c_row + v * kLanes;
      hn::StoreU(hn::MulAdd(factors, sums[t][v], hn::LoadU(d, to)), d, to);
    }
  }
}

// As AddTile for a block with fewer columns.
template <int T>
void AddNarrowTile(const MatrixView& a, const float* block, int64_t depth, int64_t columns,
                   float factor, float* c, int64_t c_row) {
  alignas(64) float whole[T * kColumns];
  for (int t = 0; t < T; ++t) std::copy_n(c + t * c_row, columns, whole + t * kColumns);
  for (int t = 0; t < T; ++t)
    std::fill(whole + t * kColumns + columns, whole + (t + 1) * kColumns, 0.0f);
  AddTile<T>(a, block, depth, factor, whole, kColumns);
  for (int t = 0; t < T; ++t) std::copy_n(whole + t * kColumns, columns, c + t * c_row);
}

// m rows of c by the columns of one block.
HWY_INLINE void MultiplyBlock(const MatrixView& a, const float* block, int64_t m, int64_t columns,
                              int64_t depth, float factor, float* c, int64_t c_row) {
  int64_t i = 0;
  const auto run = [&]<int T>() HWY_ATTR {
    for (; i + T <= m; i += T) {
      const MatrixView rows{a.data + i * a.row, a.row, a.col};
      if (columns == kColumns) {
        AddTile<T>(rows, block, depth, factor, c + i * c_row, c_row);
      } else {
        AddNarrowTile<T>(rows, block, depth, columns, factor, c + i * c_row, c_row);
      }
    }
  };
  run.template operator()<kRows>();
  run.template operator()<2>();
  run.template operator()<1>();
}

void AddProduct(const MatrixView& a, const MatrixView& b, int64_t m, int64_t n, int64_t k,
                float factor, float* c, int64_t c_row) {
  alignas(64) Block block;
  for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, k - k0);
    for (int64_t n0 = 0; n0 < n; n0 += kColumns) {
      const int64_t columns = std::min(kColumns, n - n0);
      CopyBlock({b.data + k0 * b.row + n0, b.row}, depth, columns, block);
      MultiplyBlock({a.data + k0 * a.col, a.row, a.col}, block, m, columns, depth, factor, c + n0,
                    c_row);
    }
  }
}

void PackRow(const float* row, int64_t n, int64_t k, float* panel) {
  for (int64_t n0 = 0; n0 < n; n0 += kColumns) {
    CopyBlock({row + n0, 0}, 1, std::min(kColumns, n - n0), panel + n0 * kDepth + k * kColumns);
  }
}

void MultiplyPanel(const MatrixView& a, const float* panel, int64_t m, int64_t n, int64_t depth,
                   float* c, int64_t c_row) {
  for (int64_t n0 = 0; n0 < n; n0 += kColumns) {
    MultiplyBlock(a, panel + n0 * kDepth, m, std::min(kColumns, n - n0), depth, 1.0f, c + n0,
                  c_row);
  }
}

// Sums of products in f64, half a vector at a time.
using Half = hn::Half<D>;
using Wide = hn::Rebind<double, Half>;
constexpr int64_t kHalfLanes = hn::MaxLanes(Half());

HWY_INLINE double SumOf(hn::Vec<Wide> lanes) { return hn::GetLane(hn::SumOfLanes(Wide(), lanes)); }

void RmsNormBack(const float* x, const float* weight, float eps, const float* dy, int64_t width,
                 float* dx) {
  hn::Vec<Wide> square_lanes = hn::Zero(Wide()), product_lanes = hn::Zero(Wide());
  int64_t i = 0;
  for (; i + kHalfLanes <= width; i += kHalfLanes) {
    const auto v = hn::PromoteTo(Wide(), hn::LoadU(Half(), x + i));
    const auto w = hn::PromoteTo(Wide(), hn::LoadU(Half(), weight + i));
    square_lanes = hn::MulAdd(v, v, square_lanes);
    product_lanes =
        hn::MulAdd(hn::Mul(v, w), hn::PromoteTo(Wide(), hn::LoadU(Half(), dy + i)), product_lanes);
  }
  double squares = SumOf(square_lanes), products = SumOf(product_lanes);
  for (; i < width; ++i) {
    squares += static_cast<double>(x[i]) * x[i];
    products += static_cast<double>(x[i]) * weight[i] * dy[i];
  }
  const auto mean = static_cast<float>(squares / static_cast<double>(width));
  const float scale = 1.0f / std::sqrt(mean + eps);
  const auto pull =
      static_cast<float>(products / static_cast<double>(width)) * scale * scale * scale;
  for (i = 0; i < width; ++i) dx[i] = scale * weight[i] * dy[i] - pull * x[i];
}

// 1 / (1 + exp(-x)).
HWY_INLINE V Sigmoid(V x) {
  // Highway's exponential is undefined beyond f32's range.
  const V bounded = hn::Min(hn::Max(x, hn::Set(d, -88.0f)), hn::Set(d, 88.0f));
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(bounded))));
}

struct GateDerivatives {
  V value;  // of the gate's function
  V slope;
};

HWY_INLINE GateDerivatives Silu(V gate) {
  const V one = hn::Set(d, 1.0f), s = Sigmoid(gate);
  const V value = hn::Mul(gate, s);
  return {value, hn::Mul(s, hn::Add(one, hn::Sub(gate, value)))};
}

// gelu(g) = g * sigmoid(2 z), z = sqrt(2/pi) * (g + 0.044715 g^3).
HWY_INLINE GateDerivatives Gelu(V gate) {
  const V one = hn::Set(d, 1.0f), two_root = hn::Set(d, 1.5957691216057308f);
  const V square = hn::Mul(gate, gate);
  const V s =
      Sigmoid(hn::Mul(hn::Mul(gate, two_root), hn::MulAdd(square, hn::Set(d, 0.044715f), one)));
  const V inner = hn::Mul(two_root, hn::MulAdd(square, hn::Set(d, 3 * 0.044715f), one));
  const V value = hn::Mul(gate, s);
  return {value, hn::MulAdd(hn::Mul(value, hn::Sub(one, s)), inner, s)};
}

template <GateDerivatives (*kGate)(V)>
HWY_INLINE void GateBack(const float* gate, const float* up, const float* dy, int64_t n,
                         float* dgate, float* dup) {
  const auto step = [](const float* g, const float* u, const float* y, float* dg, float* du)
                        HWY_ATTR {
                          const GateDerivatives of = kGate(hn::LoadU(d, g));
                          const V derivative = hn::LoadU(d, y), ups = hn::LoadU(d, u);
                          hn::StoreU(hn::Mul(hn::Mul(derivative, ups), of.slope), d, dg);
                          hn::StoreU(hn::Mul(derivative, of.value), d, du);
                        };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(gate + i, up + i, dy + i, dgate + i, dup + i);
  if (i == n) return;
  float g[kLanes] = {}, u[kLanes] = {}, y[kLanes] = {};
  std::copy(gate + i, gate + n, g);
  std::copy(up + i, up + n, u);
  std::copy(dy + i, dy + n, y);
  step(g, u, y, g, u);
  std::copy_n(g, n - i, dgate + i);
  std::copy_n(u, n - i, dup + i);
}

void SiluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n, float* dgate,
                      float* dup) {
  GateBack<&Silu>(gate, up, dy, n, dgate, dup);
}
void GeluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n, float* dgate,
                      float* dup) {
  GateBack<&Gelu>(gate, up, dy, n, dgate, dup);
}

// x[i] = exp(x[i] - the largest); returns their sum.
double ExponentialsOf(float* x, int64_t n, float* largest) {
  V most = hn::Set(d, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = hn::Max(most, hn::LoadU(d, x + i));
  *largest = hn::GetLane(hn::MaxOfLanes(d, most));
  for (int64_t j = i; j < n; ++j) *largest = std::max(*largest, x[j]);
  const V shift = hn::Set(d, *largest), floor = hn::Set(d, -88.0f);
  const auto exponential = [&](V v) HWY_ATTR {
    const V below = hn::Sub(v, shift);
    const V e = hn::IfThenZeroElse(hn::Lt(below, floor), hn::Exp(d, hn::Max(below, floor)));
    // What is no number stays none.
    return hn::IfThenElse(hn::IsNaN(below), below, e);
  };
  double sum = 0;
  V part = hn::Zero(d);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const V e = exponential(hn::LoadU(d, x + i));
    hn::StoreU(e, d, x + i);
    part = hn::Add(part, e);
    // A long row's sum keeps its last digits in f64.
    if ((i / kLanes) % 64 == 63) {
      sum += hn::GetLane(hn::SumOfLanes(d, part));
      part = hn::Zero(d);
    }
  }
  sum += hn::GetLane(hn::SumOfLanes(d, part));
  if (i < n) {
    float rest[kLanes] = {};
    std::copy(x + i, x + n, rest);
    hn::StoreU(exponential(hn::LoadU(d, rest)), d, rest);
    for (int64_t j = i; j < n; ++j) sum += x[j] = rest[j - i];
  }
  return sum;
}

double CrossEntropy(float* logits, int64_t width, int64_t target, float factor) {
  const float of_target = logits[target];
  float largest;
  const double sum = ExponentialsOf(logits, width, &largest);
  const auto each = static_cast<float>(factor / sum);
  for (int64_t i = 0; i < width; ++i) logits[i] *= each;
  logits[target] -= factor;
  return std::log(sum) + largest - of_target;
}

void Soften(float* scores, int64_t count, float scale, float softcap, float* slopes) {
  for (int64_t i = 0; i < count; ++i) scores[i] *= scale;
  if (softcap != 0) {
    for (int64_t i = 0; i < count; ++i) {
      const float tanh = std::tanh(scores[i] / softcap);
      scores[i] = softcap * tanh;
      slopes[i] = 1 - tanh * tanh;
    }
  }
  float largest;
  const double sum = ExponentialsOf(scores, count, &largest);
  const auto each = static_cast<float>(1 / sum);
  for (int64_t i = 0; i < count; ++i) scores[i] *= each;
}

void SoftenBack(const float* weights, const float* slopes, int64_t count, float* derivative) {
  hn::Vec<Wide> lanes = hn::Zero(Wide());
  int64_t at = 0;
  for (; at + kHalfLanes <= count; at += kHalfLanes) {
    lanes = hn::MulAdd(hn::PromoteTo(Wide(), hn::LoadU(Half(), weights + at)),
                       hn::PromoteTo(Wide(), hn::LoadU(Half(), derivative + at)), lanes);
  }
  double sum = SumOf(lanes);
  for (; at < count; ++at) sum += static_cast<double>(weights[at]) * derivative[at];
  const auto mean = static_cast<float>(sum);
  for (int64_t i = 0; i < count; ++i) derivative[i] = weights[i] * (derivative[i] - mean);
  if (slopes == nullptr) return;
  for (int64_t i = 0; i < count; ++i) derivative[i] *= slopes[i];
}

extern const GradientOps kGradientOps;
constexpr GradientOps kGradientOps = {&AddProduct,   &PackRow,          &MultiplyPanel,
                                      &RmsNormBack,  &SiluMultiplyBack, &GeluMultiplyBack,
                                      &CrossEntropy, &Soften,           &SoftenBack};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

const GradientOps& GradientOpsFor(Isa isa) {
  switch (isa) {
#if HWY_TARGETS & HWY_AVX3
    case Isa::kAvx512:
      return N_AVX3::kGradientOps;
#endif
#if HWY_TARGETS & HWY_AVX2
    case Isa::kAvx2:
      return N_AVX2::kGradientOps;
#endif
    default:
      return HWY_STATIC_DISPATCH(kGradientOps);
  }
}

}  // namespace halftone
#endif
