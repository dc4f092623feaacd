// Container x grid: whatever a container says it can store comes back as it was stored, with the
// size that was promised. Loops over both tables; a new entry in either needs no change here.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

// Any bytes are some blocks: containers must not look into them.
std::vector<uint8_t> RandomBytes(uint64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Shapes with one, two and three dimensions, and one without elements.
CheckpointPlan PlanFor(const Grid& grid) {
  const int64_t block = grid.block;
  CheckpointPlan plan;
  plan.metadata.Set("general.architecture", std::string("llama"));
  plan.tensors = {{"blk.0.a.weight", &grid, {block}},
                  {"blk.0.b.weight", &grid, {3, 2 * block}},
                  {"blk.0.c.weight", &grid, {2, 5, block}},
                  {"blk.0.d.weight", &grid, {0, block}},
                  {"blk.0.e.weight", &grid, {1, 3 * block}}};
  return plan;
}

void RoundTrip(const Container& container, const Grid& grid) {
  const TempFolder folder;
  const auto path = folder.path() / ("model." + std::string(container.name));
  const CheckpointPlan plan = PlanFor(grid);
  std::vector<std::vector<uint8_t>> data;
  const auto writer = container.create(path, plan);
  for (const TensorPlan& tensor : plan.tensors) {
    data.push_back(RandomBytes(tensor.bytes(), static_cast<uint32_t>(data.size())));
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
    const Tensor& tensor = checkpoint.Get(plan.tensors[i].name);
    EXPECT_EQ(tensor.grid, &grid);
    EXPECT_EQ(tensor.shape, plan.tensors[i].shape);
    EXPECT_TRUE(std::ranges::equal(tensor.data, data[i])) << tensor.name;
  }
}

TEST(ContainerGridTest, WhatIsStoredComesBack) {
  int pairs = 0;
  for (const Container* container : AllContainers()) {
    if (container->create == nullptr) continue;
    for (const Grid* grid : AllGrids()) {
      if (!container->can_store(*grid)) continue;
      SCOPED_TRACE(std::string(container->name) + " x " + std::string(grid->name));
      RoundTrip(*container, *grid);
      ++pairs;
    }
  }
  EXPECT_GE(pairs, 4);
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
