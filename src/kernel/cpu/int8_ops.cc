// Compiled once for each instruction set by Highway's foreach_target.

#include "kernel/cpu/int8_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "grid/grouped.h"
#include "kernel/cpu/aligned.h"

#if defined(__x86_64__) && __has_include("kernel/cpu/fast/vnni.h")
#include "kernel/cpu/fast/vnni.h"
#endif

// As in vector_ops.cc.
#define HWY_COMPILE_ALL_ATTAINABLE
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/cpu/int8_ops.cc"
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace halftone {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr D d;
constexpr DI di;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int64_t kPanel = Int8Weights::kPanel;
static_assert(kPanel % (4 * kLanes) == 0);

// The nearest half-precision number, ties to even, as a float; its largest finite one for numbers
// beyond it. bitsandbytes rounds activations so before it looks at them.
HWY_INLINE V RoundToHalf(V x) {
  const VI bits = hn::BitCast(di, x);
  const VI odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(di, 1));
  const VI rounded = hn::And(hn::Add(bits, hn::Add(odd, hn::Set(di, 0xFFF))), hn::Set(di, ~0x1FFF));
  // Below the smallest normal one they are multiples of 2^-24, the last place of [0.5, 1).
  const V magnitude = hn::Abs(x);
  const V tiny = hn::CopySign(hn::Sub(hn::Add(magnitude, hn::Set(d, 0.5f)), hn::Set(d, 0.5f)), x);
  const V half =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-14f)), tiny, hn::BitCast(d, rounded));
  return hn::Min(hn::Max(half, hn::Set(d, -65504.0f)), hn::Set(d, 65504.0f));
}

// The nearest integer of numbers below 2^22, ties to even: it is what the last places of 1.5 * 2^23
// and more count. (Highway's scalar NearestInt rounds 0.49999997 up.)
HWY_INLINE VI Nearest(V x) {
  return hn::Sub(hn::BitCast(di, hn::Add(x, hn::Set(d, 0x1.8p23f))), hn::Set(di, 0x4B400000));
}

// Calls body(vector, column) for all of x, the last vector padded with zeros.
template <class Body>
HWY_INLINE void ForVectors(const float* x, int64_t cols, Body&& body) {
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) body(hn::LoadU(d, x + c), c);
  if (c < cols) {
    float rest[kLanes] = {};
    std::copy(x + c, x + cols, rest);
    body(hn::LoadU(d, rest), c);
  }
}

// Codes to 16 bits, columns 0 and 2 of a word into one, 1 and 3 into another.
void Spread(const int32_t* codes, int64_t words, int32_t* even, int32_t* odd) {
  for (int64_t k = 0; k < words; ++k) {
    const auto word = static_cast<uint32_t>(codes[k]);
    const auto at = [&](int c) {
      return static_cast<uint32_t>(static_cast<int8_t>(word >> 8 * c));
    };
    even[k] = static_cast<int32_t>((at(0) & 0xFFFF) | at(2) << 16);
    odd[k] = static_cast<int32_t>((at(1) & 0xFFFF) | at(3) << 16);
  }
}

void Round(const float* x, int64_t cols, float threshold, int64_t t, Int8Batch& batch) {
  Int8Token& token = batch.tokens[t];
  token.outliers.clear();
  const V limit = hn::Set(d, threshold > 0 ? threshold : INFINITY);
  // Bits of magnitudes ascend with them, infinity and NaN on top.
  VI top = hn::Zero(di), kept = hn::Zero(di);
  ForVectors(x, cols, [&](V v, int64_t) HWY_ATTR {
    top = hn::Max(top, hn::BitCast(di, hn::Abs(v)));
    const V half = hn::Abs(RoundToHalf(v));
    kept = hn::Max(kept, hn::BitCast(di, hn::IfThenElseZero(hn::Lt(half, limit), half)));
  });
  const float largest = hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(di, kept)));
  const bool finite = hn::GetLane(hn::MaxOfLanes(di, top)) < 0x7F800000;
  token.scale = finite ? largest : NAN;

  // In this order: torch divides a number by a tensor through the reciprocal.
  const float factor = finite && largest > 0 ? 1.0f / largest * 127.0f : 0.0f;
  const V factors = hn::Set(d, factor);
  int32_t* words = batch.codes.data() + t * batch.stride;
  auto* codes = reinterpret_cast<int8_t*>(words);
  VI sums = hn::Zero(di);
  if (factor > 0) {
    words[(cols - 1) / 4] = 0;  // its padding, where vectors are shorter than a word's columns
    ForVectors(x, cols, [&](V v, int64_t c) HWY_ATTR {
      const V half = RoundToHalf(v);
      const V inside = hn::IfThenElseZero(hn::Lt(hn::Abs(half), limit), half);
      const VI code = Nearest(hn::Mul(inside, factors));
      sums = hn::Add(sums, code);
      hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, DI>(), code), hn::Rebind<int8_t, DI>(), codes + c);
    });
  } else {
    std::fill_n(words, batch.stride, 0);
  }
  token.offset = static_cast<uint32_t>(hn::GetLane(hn::SumOfLanes(di, sums))) * 128u;
  if (!batch.even.empty()) {
    Spread(words, batch.stride, batch.even.data() + t * batch.stride,
           batch.odd.data() + t * batch.stride);
  }
  if (!finite || threshold <= 0) return;
  ForVectors(x, cols, [&](V v, int64_t c) HWY_ATTR {
    const auto out = hn::Ge(hn::Abs(RoundToHalf(v)), limit);
    if (hn::AllFalse(d, out)) return;
    uint8_t bits[8] = {};
    hn::StoreMaskBits(d, out, bits);
    for (int i = 0; i < kLanes; ++i) {
      if (bits[i / 8] >> (i % 8) & 1) {
        token.outliers.push_back({static_cast<int32_t>(c + i), x[c + i]});
      }
    }
  });
}

// sum + the products of four codes of weights (bytes, in the words of w) and of a token.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
using DI16 = hn::Repartition<int16_t, DI>;
constexpr DI16 di16;
struct Codes {
  hn::Vec<DI16> even, odd;
};
HWY_INLINE Codes Unpack(VI w) {
  return {hn::BitCast(di16, hn::And(w, hn::Set(di, 0x00FF00FF))),
          hn::BitCast(di16, hn::And(hn::ShiftRight<8>(w), hn::Set(di, 0x00FF00FF)))};
}
HWY_INLINE VI MultiplyAdd(const Codes& w, VI even, VI odd, VI sum) {
  // Here both products of a pair go to the first sum.
  VI none = hn::Zero(di);
  sum = hn::ReorderWidenMulAccumulate(di, w.even, hn::BitCast(di16, even), sum, none);
  return hn::ReorderWidenMulAccumulate(di, w.odd, hn::BitCast(di16, odd), sum, none);
}
#else
struct Codes {
  VI byte[4];
};
HWY_INLINE Codes Unpack(VI w) {
  const VI mask = hn::Set(di, 0xFF);
  return {{hn::And(w, mask), hn::And(hn::ShiftRight<8>(w), mask),
           hn::And(hn::ShiftRight<16>(w), mask), hn::And(hn::ShiftRight<24>(w), mask)}};
}
HWY_INLINE VI MultiplyAdd(const Codes& w, VI even, VI odd, VI sum) {
  const auto low = [](VI v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto high = [](VI v) HWY_ATTR { return hn::ShiftRight<16>(v); };
  sum = hn::Add(sum, hn::Mul(w.byte[0], low(even)));
  sum = hn::Add(sum, hn::Mul(w.byte[1], low(odd)));
  sum = hn::Add(sum, hn::Mul(w.byte[2], high(even)));
  return hn::Add(sum, hn::Mul(w.byte[3], high(odd)));
}
#endif

// AVX-512 has the registers for 4 tokens by 4 vectors of rows, the others for 3 by 2.
constexpr int kTileTokens = kLanes >= 16 ? 4 : 3;
constexpr int kTileVectors = kLanes >= 16 ? 4 : 2;

template <int T>
void DotTile(const uint8_t* panel, int64_t words, const int32_t* even, const int32_t* odd,
             int64_t stride, int32_t* sums) {
  for (int64_t row = 0; row < kPanel; row += kTileVectors * kLanes) {
    // Unrolled throughout, or the sums would live in memory.
    VI sum[T][kTileVectors];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sum[t][v] = hn::Zero(di);
    }
    const auto* w = reinterpret_cast<const int32_t*>(panel) + row;
    for (int64_t k = 0; k < words; ++k, w += kPanel) {
      Codes codes[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) codes[v] = Unpack(hn::LoadU(di, w + v * kLanes));
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const VI e = hn::Set(di, even[t * stride + k]), o = hn::Set(di, odd[t * stride + k]);
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) sum[t][v] = MultiplyAdd(codes[v], e, o, sum[t][v]);
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        hn::StoreU(sum[t][v], di, sums + t * kPanel + row + v * kLanes);
      }
    }
  }
}

void Dot(const uint8_t* panel, int64_t words, const Int8Batch& batch, int64_t first, int count,
         int32_t* sums) {
  const int32_t* even = batch.even.data() + first * batch.stride;
  const int32_t* odd = batch.odd.data() + first * batch.stride;
  int t = 0;
  const auto run = [&]<int T>() HWY_ATTR {
    for (; t + T <= count; t += T) {
      DotTile<T>(panel, words, even + t * batch.stride, odd + t * batch.stride, batch.stride,
                 sums + t * kPanel);
    }
  };
  run.template operator()<kTileTokens>();
  run.template operator()<1>();
}

void Finish(const uint8_t* panel, const int32_t* sums, const Int8Token& token, const float* scales,
            float* y) {
  constexpr int kVectors = 4;
  const VI offset = hn::Set(di, static_cast<int32_t>(token.offset));
  const V scale = hn::Set(d, token.scale);
  const V both = hn::Set(d, 1.0f / (127 * 127)), one = hn::Set(d, 1.0f / 127);
  for (int64_t row = 0; row < kPanel; row += kVectors * kLanes) {
    V outside[kVectors];
    for (V& v : outside) v = hn::Zero(d);
    for (const Outlier& outlier : token.outliers) {
      const auto* w = reinterpret_cast<const int32_t*>(panel) + outlier.col / 4 * kPanel + row;
      const int shift = outlier.col % 4 * 8;
      const V value = hn::Set(d, outlier.value);
      for (int v = 0; v < kVectors; ++v) {
        const VI code =
            hn::And(hn::ShiftRightSame(hn::LoadU(di, w + v * kLanes), shift), hn::Set(di, 0xFF));
        const V level = hn::ConvertTo(d, hn::Sub(code, hn::Set(di, 128)));
        outside[v] = hn::Add(outside[v], hn::Mul(value, level));
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = row + v * kLanes;
      const V s = hn::LoadU(d, scales + at);
      const V sum = hn::ConvertTo(d, hn::Sub(hn::LoadU(di, sums + at), offset));
      const V inside = hn::Mul(hn::Mul(sum, hn::Mul(scale, s)), both);
      hn::StoreU(hn::Add(inside, hn::Mul(outside[v], hn::Mul(s, one))), d, y + at);
    }
  }
}

extern const Int8Ops kInt8Ops;
constexpr Int8Ops kInt8Ops = {kTileTokens, true, &Round, &Dot, &Finish};

}  // namespace HWY_NAMESPACE
}  // namespace halftone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halftone {

Int8Weights PackInt8(const Tensor& tensor, ThreadPool& pool) {
  constexpr int64_t kPanel = Int8Weights::kPanel;
  Int8Weights packed;
  packed.rows = tensor.rows();
  packed.cols = tensor.cols();
  packed.words = (packed.cols + 3) / 4;
  const int64_t panels = (packed.rows + kPanel - 1) / kPanel;
  packed.memory = AllocateAligned(panels * packed.words * kPanel);
  packed.scales.resize(static_cast<size_t>(panels * kPanel));
  auto* codes = reinterpret_cast<uint8_t*>(packed.memory.get());
  pool.For(panels, [&](int64_t panel, int) {
    uint8_t* to = codes + panel * packed.words * kPanel * 4;
    const int64_t rows = std::min(kPanel, packed.rows - panel * kPanel);
    std::vector<uint8_t> row(static_cast<size_t>(packed.words * 4), 128);
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* block = tensor.row(panel * kPanel + r).data();
      packed.scales[panel * kPanel + r] = LoadReal(tensor.grid->grouped->scale, block);
      UnpackGroupedCodes(*tensor.grid, block, row.data());
      for (int64_t k = 0; k < packed.words; ++k) {
        std::memcpy(to + (k * kPanel + r) * 4, row.data() + k * 4, 4);
      }
    }
  });
  return packed;
}

namespace {

const Int8Ops& Portable(Isa isa) {
  switch (isa) {
#if HWY_TARGETS & HWY_AVX3
    case Isa::kAvx512:
      return N_AVX3::kInt8Ops;
#endif
#if HWY_TARGETS & HWY_AVX2
    case Isa::kAvx2:
      return N_AVX2::kInt8Ops;
#endif
    default:
      return HWY_STATIC_DISPATCH(kInt8Ops);
  }
}

}  // namespace

const Int8Ops& Int8OpsFor(Isa isa, [[maybe_unused]] bool bytes) {
#if defined(HT_VNNI_TARGET)
  if (isa == Isa::kAvx512 && bytes && HasVnni()) {
    static const Int8Ops vnni = {kInt8Tokens, false, Portable(isa).round, &DotVnni,
                                 Portable(isa).finish};
    return vnni;
  }
#endif
  return Portable(isa);
}

}  // namespace halftone
#endif
