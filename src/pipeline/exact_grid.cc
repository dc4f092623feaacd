#include "pipeline/exact_grid.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "grid/grouped.h"
#include "grid/reexpress.h"

namespace halftone {
namespace {

// Integers in groups: what checkpoints of GPTQ and its kin are made of. 0: whole rows.
constexpr int kGroups[] = {0, 1024, 512, 256, 128, 64, 32};
constexpr int kBits[] = {2, 3, 4, 8};
// From few digits to many: scales that fit into the coarser type came from it.
constexpr Real kScales[] = {Real::kBf16, Real::kF16, Real::kF32};

std::vector<const Grid*> Candidates(int64_t cols) {
  std::vector<const Grid*> grids(AllGrids().begin(), AllGrids().end());
  for (const int bits : kBits) {
    for (const bool symmetric : {true, false}) {
      for (const int group : kGroups) {
        const int64_t block = group > 0 ? group : cols;
        if (cols % block != 0 || block * bits % 8 != 0) continue;
        for (const Real scale : kScales) {
          grids.push_back(&GroupedGrid({.bits = bits,
                                        .group = group,
                                        .symmetric = symmetric,
                                        .scale = scale,
                                        .value = scale},
                                       cols));
        }
      }
    }
  }
  std::ranges::stable_sort(grids, {}, &Grid::bits_per_weight);
  return grids;
}

}  // namespace

bool HoldsExactly(const Tensor& tensor, const Grid& to, ThreadPool& pool) {
  const int64_t cols = tensor.cols();
  if (!MayReexpress(*tensor.grid, to, cols)) return false;
  std::atomic<bool> holds = true;
  std::vector<std::vector<uint8_t>> scratch(static_cast<size_t>(pool.threads()),
                                            std::vector<uint8_t>(to.RowBytes(cols)));
  pool.For(tensor.rows(), [&](int64_t row, int thread) {
    if (!holds.load(std::memory_order_relaxed)) return;
    const bool same =
        Reexpress(*tensor.grid, to, tensor.row(row).data(), cols, scratch[thread].data());
    if (!same) holds = false;
  });
  return holds;
}

const Grid* ExactGrid(const Container& container, const Tensor& tensor, const GridFilter& allowed,
                      ThreadPool& pool) {
  if (tensor.cols() == 0) return nullptr;
  for (const Grid* grid : Candidates(tensor.cols())) {
    // Groups of columns in an order of their own stay together only where the order does.
    if (tensor.order != nullptr && !grid->plain) continue;
    if (container.can_store(*grid) && allowed(*grid) && HoldsExactly(tensor, *grid, pool)) {
      return grid;
    }
  }
  return nullptr;
}

const Grid& WithGroup(const Grid& grid, int group, int64_t cols) {
  GroupedSpec spec = *grid.grouped;
  spec.group = group;
  return GroupedGrid(spec, cols);
}

}  // namespace halftone
