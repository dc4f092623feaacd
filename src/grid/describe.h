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
//   static void EncodeRow(const float* w, int64_t n, const float* importance, uint8_t* blocks);
//     or, where blocks are independent of one another and importances are unused,
//   static void EncodeBlock(const float* weights, uint8_t* block);

#pragma once

#include "grid/grid.h"

namespace halftone {

template <class G>
void DecodeBlocks(const uint8_t* blocks, int64_t n, float* weights) {
  for (int64_t i = 0; i < n; i += G::kBlock, blocks += G::kBytes) {
    G::DecodeBlock(blocks, weights + i);
  }
}

template <class G>
void EncodeBlocks(const float* weights, int64_t n, const float* /*importance*/, uint8_t* blocks) {
  for (int64_t i = 0; i < n; i += G::kBlock, blocks += G::kBytes) {
    G::EncodeBlock(weights + i, blocks);
  }
}

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
  grid.decode = &DecodeBlocks<G>;
  if constexpr (requires { &G::EncodeRow; }) {
    grid.encode = &G::EncodeRow;
  } else if constexpr (requires { &G::EncodeBlock; }) {
    grid.encode = &EncodeBlocks<G>;
  }
  return grid;
}

}  // namespace halftone
