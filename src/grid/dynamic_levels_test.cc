// The levels against bitsandbytes' own: testdata/dynamic_levels.txt.

#include "grid/dynamic_levels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "tests/testing/paths.h"

namespace halftone {
namespace {

TEST(DynamicLevelsTest, AreBitsandbytes) {
  std::ifstream file(SourcePath("src/grid/testdata/dynamic_levels.txt"));
  std::string comment;
  std::getline(file, comment);
  for (const Levels256* levels : {&DynamicLevels(), &UnsignedDynamicLevels()}) {
    for (const float level : *levels) {
      double expected = NAN;
      ASSERT_TRUE(file >> expected);
      EXPECT_EQ(level, static_cast<float>(expected));
    }
  }
}

TEST(DynamicLevelsTest, TheNearestIsFound) {
  const Levels256& levels = DynamicLevels();
  for (int i = 0; i < 256; ++i) EXPECT_EQ(NearestCode(levels, levels[i]), i);
  EXPECT_EQ(NearestCode(levels, -2), 0);
  EXPECT_EQ(NearestCode(levels, 2), 255);
}

}  // namespace
}  // namespace halftone
