// The choice of options against trying all of them.

#include "method/allocation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace halftone {
namespace {

using Items = std::vector<std::vector<AllocationOption>>;

// Costs that fall with bytes by a power, as rounding errors do, from different heights.
Items MakeItems(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform;
  Items items(count);
  for (auto& options : items) {
    const double height = std::exp(6 * uniform(random)), size = 100 + 900 * uniform(random);
    for (const double bits : {2.6, 3.4, 4.5, 5.5, 6.6, 8.5}) {
      const double cost = height * std::exp2(-2 * bits) * (0.8 + 0.4 * uniform(random));
      options.push_back({static_cast<uint64_t>(size * bits), cost});
    }
  }
  return items;
}

uint64_t BytesOf(const Items& items, const std::vector<size_t>& chosen) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < items.size(); ++i) bytes += items[i][chosen[i]].bytes;
  return bytes;
}

double CostOf(const Items& items, const std::vector<size_t>& chosen) {
  double cost = 0;
  for (size_t i = 0; i < items.size(); ++i) cost += items[i][chosen[i]].cost;
  return cost;
}

// The least cost of all choices within the budget.
double LeastCost(const Items& items, uint64_t budget) {
  double least = std::numeric_limits<double>::infinity();
  std::vector<size_t> chosen(items.size());
  for (;;) {
    if (BytesOf(items, chosen) <= budget) least = std::min(least, CostOf(items, chosen));
    size_t i = 0;
    while (i < items.size() && ++chosen[i] == items[i].size()) chosen[i++] = 0;
    if (i == items.size()) return least;
  }
}

TEST(AllocateTest, IsNearTheBestOfAllChoicesAndNeverAboveTheBudget) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const Items items = MakeItems(6, seed);
    const uint64_t least = BytesOf(items, std::vector<size_t>(6, 0));
    const uint64_t most = BytesOf(items, std::vector<size_t>(6, 5));
    for (int step = 0; step <= 8; ++step) {
      const uint64_t budget = least + (most - least) * static_cast<uint64_t>(step) / 8;
      const auto chosen = Allocate(items, budget);
      ASSERT_TRUE(chosen);
      EXPECT_LE(BytesOf(items, *chosen), budget);
      EXPECT_LE(CostOf(items, *chosen), 1.35 * LeastCost(items, budget))
          << "seed " << seed << " step " << step;
    }
    EXPECT_EQ(CostOf(items, *Allocate(items, most)), LeastCost(items, most));
  }
}

TEST(AllocateTest, SaysSoWhereNothingFits) {
  const Items items = MakeItems(3, 7);
  const uint64_t least = BytesOf(items, {0, 0, 0});
  EXPECT_FALSE(Allocate(items, least - 1));
  EXPECT_TRUE(Allocate(items, least));
}

// Fewer bytes for less cost: whatever the budget, the dear option is never taken.
TEST(AllocateTest, TakesWhatIsBetterInEveryWay) {
  const Items items = {{{10, 5.0}, {10, 1.0}, {12, 4.0}}};
  EXPECT_EQ((*Allocate(items, 10))[0], 1u);
  EXPECT_EQ((*Allocate(items, 99))[0], 1u);
}

}  // namespace
}  // namespace halftone
