// Writing quantized tensors to a folder and reading them back.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grouped.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

// Takes the codes of E4M3 that are no number, which readers refuse, out of blocks of such codes.
inline void LeaveOutNan(const Grid& grid, std::vector<uint8_t>& blocks) {
  if (grid.grouped == nullptr || grid.grouped->levels != GroupedLevels::kE4m3) return;
  const int first = grid.bytes - grid.block;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const bool code = static_cast<int>(i % static_cast<size_t>(grid.bytes)) >= first;
    if (code && (blocks[i] & 127) == 127) --blocks[i];
  }
}

// Any blocks: all codes and scales, zeros that codes can have.
inline std::vector<uint8_t> RandomBlocks(const Grid& grid, int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> blocks(grid.RowBytes(n));
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
  LeaveOutNan(grid, blocks);
  if (grid.grouped != nullptr && !grid.grouped->symmetric) {
    const int at = ScaleBytes(grid.grouped->scale);
    for (size_t i = 0; i < blocks.size(); i += static_cast<size_t>(grid.bytes)) {
      blocks[i + at] = static_cast<uint8_t>(blocks[i + at] & ((1 << grid.grouped->bits) - 1));
    }
  }
  return blocks;
}

// Writes tensors of these blocks in pieces of uneven size, opens the folder, returns what is there.
inline Checkpoint WriteAndOpen(const Container& container, const CheckpointPlan& plan,
                               const std::vector<std::vector<uint8_t>>& blocks,
                               const TempFolder& temp) {
  const auto path = temp.path() / "out";
  const auto writer = container.create(path, plan);
  for (const std::vector<uint8_t>& all : blocks) {
    for (size_t at = 0; at < all.size(); at += 1000) {
      writer->Append(std::span(all).subspan(at, std::min<size_t>(1000, all.size() - at)));
    }
  }
  writer->Commit();
  EXPECT_EQ(std::filesystem::file_size(path / "model.safetensors"), container.file_bytes(plan));
  return OpenCheckpoint(path);
}

// That a tensor of this shape comes back as it was, grid and bytes.
inline void ExpectRoundTrip(const Container& container, const std::string& name,
                            const std::vector<int64_t>& shape) {
  SCOPED_TRACE(name);
  const Grid* grid = FindGrid(name, shape.back());
  ASSERT_NE(grid, nullptr);
  EXPECT_TRUE(container.can_store(*grid));
  CheckpointPlan plan;
  plan.tensors = {{"a.weight", grid, shape}};
  const std::vector<uint8_t> blocks =
      RandomBlocks(*grid, static_cast<int64_t>(plan.tensors[0].bytes()) / grid->bytes * grid->block,
                   static_cast<uint32_t>(shape[0]));
  const TempFolder temp;
  const Checkpoint checkpoint = WriteAndOpen(container, plan, {blocks}, temp);
  EXPECT_EQ(checkpoint.container, container.name);
  ASSERT_EQ(checkpoint.tensors.size(), 1u);
  const Tensor tensor = Loaded(checkpoint.Get("a.weight"));
  EXPECT_EQ(tensor.grid, grid) << tensor.grid->name;
  EXPECT_EQ(tensor.shape, shape);
  EXPECT_TRUE(std::ranges::equal(tensor.data, blocks));
}

}  // namespace halftone
