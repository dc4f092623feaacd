// Container x grid: whatever a container says it can store comes back as it was stored, with the
// size that was promised. Loops over both tables, and over usual members of the family of grids
// that are made of parameters; a new entry in either needs no change here.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grouped.h"
#include "tests/testing/round_trip.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

// Shapes with one, two and three dimensions, and one without elements. Grids of parameters are for
// linear layers: matrices.
CheckpointPlan PlanFor(const Container& container, const Grid& grid) {
  const int64_t block = grid.block;
  CheckpointPlan plan;
  plan.metadata.Set("general.architecture", std::string("llama"));
  const bool linear = container.dialect == Dialect::kHuggingFace && !grid.plain;
  if (linear) {
    plan.tensors = {{"blk.0.a.weight", &grid, {8, block}},
                    {"blk.0.b.weight", &grid, {72, 2 * block}},
                    {"blk.0.c.weight", FindGridByGgufType(1), {3}},
                    {"blk.0.e.weight", &grid, {64, 3 * block}}};
    return plan;
  }
  plan.tensors = {{"blk.0.a.weight", &grid, {block}},
                  {"blk.0.b.weight", &grid, {3, 2 * block}},
                  {"blk.0.c.weight", &grid, {2, 5, block}},
                  {"blk.0.d.weight", &grid, {0, block}},
                  {"blk.0.e.weight", &grid, {1, 3 * block}}};
  return plan;
}

void RoundTrip(const Container& container, const CheckpointPlan& plan) {
  const TempFolder folder;
  const auto path = folder.path() / ("model." + std::string(container.name));
  std::vector<std::vector<uint8_t>> data;
  const auto writer = container.create(path, plan);
  for (const TensorPlan& tensor : plan.tensors) {
    data.push_back(
        RandomBlocks(*tensor.grid,
                     static_cast<int64_t>(tensor.bytes()) / tensor.grid->bytes * tensor.grid->block,
                     static_cast<uint32_t>(data.size())));
    writer->Append(data.back());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  writer->Commit();

  ASSERT_TRUE(container.recognize(path));
  const Checkpoint checkpoint = OpenCheckpoint(path);
  EXPECT_EQ(checkpoint.container, container.name);
  EXPECT_EQ(checkpoint.file_bytes, container.file_bytes(plan));
  ASSERT_EQ(checkpoint.tensors.size(), plan.tensors.size());
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const Tensor tensor = Loaded(checkpoint.Get(plan.tensors[i].name));
    EXPECT_EQ(tensor.grid, plan.tensors[i].grid);
    EXPECT_EQ(tensor.shape, plan.tensors[i].shape);
    EXPECT_TRUE(std::ranges::equal(tensor.data, data[i])) << tensor.name;
    ASSERT_EQ(tensor.order == nullptr, plan.tensors[i].order == nullptr) << tensor.name;
    if (tensor.order != nullptr) {
      EXPECT_EQ(*tensor.order, *plan.tensors[i].order);
    }
  }
}

std::vector<const Grid*> Grids() {
  const auto listed = AllGrids(), grouped = UsualGroupedGrids();
  std::vector<const Grid*> grids(listed.begin(), listed.end());
  grids.insert(grids.end(), grouped.begin(), grouped.end());
  return grids;
}

TEST(ContainerGridTest, WhatIsStoredComesBack) {
  std::map<std::string_view, int> pairs;
  for (const Container* container : AllContainers()) {
    if (container->create == nullptr) continue;
    for (const Grid* grid : Grids()) {
      if (!container->can_store(*grid)) continue;
      SCOPED_TRACE(std::string(container->name) + " x " + std::string(grid->name));
      RoundTrip(*container, PlanFor(*container, *grid));
      ++pairs[container->name];
    }
  }
  for (const auto& [container, count] : pairs) EXPECT_GE(count, 4) << container;
}

// The columns of each group in a mixed but ascending order, as a container sorts them.
TEST(ContainerGridTest, OrdersComeBack) {
  int containers = 0;
  for (const Container* container : AllContainers()) {
    if (container->create == nullptr || !container->can_store_order) continue;
    ++containers;
    for (const Grid* grid : UsualGroupedGrids()) {
      if (!container->can_store(*grid)) continue;
      SCOPED_TRACE(std::string(container->name) + " x " + std::string(grid->name));
      const int64_t block = grid->block;
      std::vector<int32_t> order(static_cast<size_t>(3 * block));
      std::iota(order.begin(), order.end(), 0);
      std::ranges::shuffle(order, std::mt19937(5));
      for (auto at = order.begin(); at != order.end(); at += block) std::sort(at, at + block);
      CheckpointPlan plan;
      plan.tensors = {{"blk.0.a.weight", grid, {72, 2 * block}},
                      {"blk.0.b.weight", grid, {72, 3 * block}}};
      plan.tensors[1].order = std::make_shared<const std::vector<int32_t>>(order);
      RoundTrip(*container, plan);
    }
  }
  EXPECT_GE(containers, 1);
}

TEST(ContainerGridTest, RecordsAreComplete) {
  for (const Container* container : AllContainers()) {
    SCOPED_TRACE(container->name);
    EXPECT_FALSE(container->summary.empty());
    EXPECT_NE(container->recognize, nullptr);
    EXPECT_NE(container->open, nullptr);
    EXPECT_NE(container->can_store, nullptr);
    EXPECT_EQ(container->create == nullptr, container->file_bytes == nullptr);
    EXPECT_EQ(FindContainer(container->name), container);
    EXPECT_FALSE(container->recognize("/nonexistent/model.gguf"));
  }
}

}  // namespace
}  // namespace halftone
