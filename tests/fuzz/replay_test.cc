// The seeds of every fuzz target, and among them what fuzzing found, with the ordinary compiler:
// none may do worse than be refused, in time and within a bounded request for memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/targets.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};

constexpr Target kTargets[] = {
#define HT_FUZZ(name) {#name, &Fuzz_##name},
#include "tests/fuzz/targets.def"
#undef HT_FUZZ
};

std::vector<fs::path> Seeds(const std::string& target) {
  std::vector<fs::path> seeds;
  const fs::path folder = fs::path(SourcePath("tests/fuzz/seeds")) / target;
  for (const auto& entry : fs::directory_iterator(folder)) seeds.push_back(entry.path());
  std::ranges::sort(seeds);
  return seeds;
}

class ReplayTest : public testing::TestWithParam<Target> {};

TEST_P(ReplayTest, SeedsAreReadOrRefused) {
  const std::vector<fs::path> seeds = Seeds(GetParam().name);
  EXPECT_GE(seeds.size(), 3u);
  for (const fs::path& seed : seeds) {
    SCOPED_TRACE(seed.filename());
    const std::string bytes = ReadBytes(seed);
    EXPECT_LE(bytes.size(), 16384u);
    const std::clock_t start = std::clock();
    EXPECT_NO_THROW(GetParam().run(bytes));
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ReplayTest, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace halftone
