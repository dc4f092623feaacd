// Fills a Grid record from the static members of the struct that specifies it.
//
// A grid struct G has:
//   static constexpr std::string_view kName, kTitle;
//   static constexpr int kBlock, kBytes, kGgufType;
//   static void DecodeBlock(const uint8_t* block, float* weights);           // kBlock weights
// and, where they apply:
//   static constexpr Affine kAffine;
//   static constexpr std::array<float, N> kCodebook;
//   static constexpr Importance kImportance;                                 // default kUnused
//   static constexpr bool kPlain = true;
//   static constexpr ScalarGrid kScalar;                // all but its pack, which is
//   static void PackScalar(const Grid&, const BlockParameters&, const uint8_t* codes,
//                          uint8_t* block);
//     and its unpack, if any,
//   static void UnpackScalar(const Grid&, const uint8_t* block, BlockParameters&, uint8_t* codes);
//   static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks);
//     or, where blocks are independent of one another without importances,
//   static void EncodeBlock(const float* weights, uint8_t* block);
//     and, where importances are of use,
//   static void EncodeWeightedRow(const float* w, int64_t n, const float* importance,
//                                 uint8_t* blocks);

#pragma once

#include "grid/grid.h"

namespace halftone {

template <class G>
void DecodeBlocks(const Grid& /*grid*/, const uint8_t* blocks, int64_t n, float* weights) {
  for (int64_t i = 0; i < n; i += G::kBlock, blocks += G::kBytes) {
    G::DecodeBlock(blocks, weights + i);
  }
}

template <class G>
void EncodeBlocks(const float* weights, int64_t n, uint8_t* blocks) {
  for (int64_t i = 0; i < n; i += G::kBlock, blocks += G::kBytes) {
    G::EncodeBlock(weights + i, blocks);
  }
}

#if defined(__x86_64__)
// EncodeBlocks once more for wider vectors. The same arithmetic without fused multiply-add, hence
// the same bytes; `flatten` inlines the grid's code here, where these instructions are allowed.
template <class G>
__attribute__((target("avx2,f16c,bmi2"), flatten)) void EncodeBlocksAvx2(const float* weights,
                                                                         int64_t n,
                                                                         uint8_t* blocks) {
  EncodeBlocks<G>(weights, n, blocks);
}

template <class G>
__attribute__((target("avx2,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl"), flatten)) void
EncodeBlocksAvx512(const float* weights, int64_t n, uint8_t* blocks) {
  EncodeBlocks<G>(weights, n, blocks);
}
#endif

template <class G>
void EncodeIndependent(const Grid& /*grid*/, const float* weights, int64_t n,
                       const float* importance, uint8_t* blocks) {
  if constexpr (requires { &G::EncodeWeightedRow; }) {
    if (importance != nullptr) return G::EncodeWeightedRow(weights, n, importance, blocks);
  }
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") &&
      __builtin_cpu_supports("bmi2")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return EncodeBlocksAvx512<G>(weights, n, blocks);
    }
    return EncodeBlocksAvx2<G>(weights, n, blocks);
  }
#endif
  static_cast<void>(importance);
  EncodeBlocks<G>(weights, n, blocks);
}

template <class G>
void EncodeWhole(const Grid& /*grid*/, const float* weights, int64_t n, const float* importance,
                 uint8_t* blocks) {
  G::EncodeRow(weights, n, importance, blocks);
}

template <class G>
constexpr ScalarGrid kScalarOf = [] {
  ScalarGrid scalar = G::kScalar;
  scalar.pack = &G::PackScalar;
  if constexpr (requires { &G::UnpackScalar; }) scalar.unpack = &G::UnpackScalar;
  return scalar;
}();

template <class G>
constexpr Grid Describe() {
  Grid grid{};
  grid.name = G::kName;
  grid.title = G::kTitle;
  grid.block = G::kBlock;
  grid.bytes = G::kBytes;
  grid.gguf_type = G::kGgufType;
  if constexpr (requires { G::kAffine; }) grid.affine = G::kAffine;
  if constexpr (requires { G::kCodebook; }) grid.codebook = G::kCodebook;
  grid.importance = Importance::kUnused;
  if constexpr (requires { G::kImportance; }) grid.importance = G::kImportance;
  if constexpr (requires { G::kPlain; }) grid.plain = G::kPlain;
  if constexpr (requires { G::kScalar; }) grid.scalar = &kScalarOf<G>;
  grid.decode = &DecodeBlocks<G>;
  if constexpr (requires { &G::EncodeRow; }) {
    grid.encode = &EncodeWhole<G>;
  } else if constexpr (requires { &G::EncodeBlock; }) {
    grid.encode = &EncodeIndependent<G>;
  }
  return grid;
}

}  // namespace halftone
