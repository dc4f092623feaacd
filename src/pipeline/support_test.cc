#include "halftone/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "halftone/plan.h"
#include "pipeline/presets.h"

namespace halftone {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::MatchesRegex;

TEST(SupportTest, ListsEveryTable) {
  EXPECT_THAT(Grids(), Contains(Field(&GridInfo::name, "q8_0")));
  EXPECT_THAT(Presets(), Contains(Field(&NamedSummary::name, "q8_0")));
  EXPECT_THAT(Methods(), Contains(Field(&NamedSummary::name, "rtn")));
  EXPECT_THAT(Containers(), Contains(Field(&NamedSummary::name, "gguf")));
  EXPECT_THAT(Architectures(), Contains("llama"));
  EXPECT_THAT(Version(), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST(SupportTest, NamesAreUniqueAndSummariesOneLine) {
  for (const auto& list : {Presets(), Methods(), Containers()}) {
    std::set<std::string> names;
    for (const NamedSummary& entry : list) {
      EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
      EXPECT_FALSE(entry.summary.empty()) << entry.name;
      EXPECT_EQ(entry.summary.find('\n'), std::string::npos) << entry.name;
    }
  }
}

TEST(SupportTest, GridsCarryTheirProperties) {
  for (const GridInfo& grid : Grids()) {
    EXPECT_EQ(grid.writable, FindPreset(grid.name) != nullptr) << grid.name;
    EXPECT_GT(grid.bits_per_weight, 1) << grid.name;
    EXPECT_GE(grid.block, 1) << grid.name;
    if (grid.name == "q8_0") {
      EXPECT_EQ(grid.bits_per_weight, 8.5);
      EXPECT_EQ(grid.block, 32);
    }
  }
}

// Summaries of mixes begin with their bits per weight in an 8B model.
TEST(SupportTest, SummariesTellTheBits) {
  const PlanReport report = Plan("8.03B", {});
  for (const NamedSummary& preset : Presets()) {
    const double stated = std::stod(preset.summary);
    for (const PlanRow& row : report.rows) {
      if (row.grid == preset.name) {
        EXPECT_NEAR(row.bits_per_weight, stated, 0.06) << preset.name;
      }
    }
  }
}

}  // namespace
}  // namespace halftone
