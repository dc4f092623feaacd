// Habits of the tree that a test can see: a grid is a value in a table and not a case in the code,
// files have a header comment and an end, nothing names a folder of the machine it was written on.
// Each is also held against a small tree that breaks it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "grid/grid.h"
#include "tests/structure/source_tree.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kLongest = 600;  // lines
constexpr size_t kMentions = 3;    // its header, the table, the presets

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool IsFastKernel(const std::string& path) {
  static const std::regex fast("src/kernel/[a-z]+/fast/.*");
  return std::regex_match(path, fast);
}

// The files of the library that mention the grid, tests and fast kernels apart.
std::vector<std::string> FilesThatMention(const SourceTree& tree, const std::string& grid) {
  std::vector<std::string> files;
  for (const auto& [path, text] : tree) {
    if (path.starts_with("src/") && !IsTest(path) && !IsFastKernel(path) &&
        Lower(text).find(grid) != std::string::npos) {
      files.push_back(path);
    }
  }
  return files;
}

// Code outside the grids' own folder, the presets and the fast kernels that names the grid. Names
// with hyphens are other programs' ("mxfp4-pack-quantized" is a format of compressed-tensors).
std::vector<std::string> CodeThatNames(const SourceTree& tree, const std::string& grid) {
  const std::regex word("\\b" + grid + "\\b(?!-)", std::regex::icase);
  std::vector<std::string> files;
  for (const auto& [path, text] : tree) {
    if (!path.starts_with("src/") || path.starts_with("src/grid/") || IsTest(path) ||
        IsFastKernel(path) || path == "src/pipeline/presets.def") {
      continue;
    }
    if (Lower(text).find(grid) == std::string::npos) continue;  // searching words is slow
    if (std::regex_search(WithoutComments(text), word)) files.push_back(path);
  }
  return files;
}

std::vector<std::string> WithoutHeaderComment(const SourceTree& tree) {
  std::vector<std::string> files;
  for (const auto& [path, text] : tree) {
    if (IsHeader(path) && !text.starts_with("// ")) files.push_back(path);
  }
  return files;
}

std::vector<std::string> TooLong(const SourceTree& tree) {
  std::vector<std::string> files;
  for (const auto& [path, text] : tree) {
    const auto lines = std::ranges::count(text, '\n');
    if (lines > kLongest) files.push_back(path + ": " + std::to_string(lines) + " lines");
  }
  return files;
}

// Home folders and this checkout's own place. "someone" stands for anybody in made-up data.
std::vector<std::string> MachinePaths(const SourceTree& tree, const std::string& checkout) {
  static const std::regex home(R"((^|[^\w.])/(root|home/(?!someone\b)\w+|Users/\w+|work)/)");
  std::vector<std::string> files;
  for (const auto& [path, text] : tree) {
    const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
    const bool suspect = has("/root/") || has("/home/") || has("/Users/") || has("/work/");
    if (has(checkout + "/") || (suspect && std::regex_search(text, home))) files.push_back(path);
  }
  return files;
}

// ---- This tree keeps them ----

// The leading C engine mentions this grid in 113 files.
TEST(HabitsTest, AGridIsMentionedInThreeFiles) {
  const auto files = FilesThatMention(Code(), "q4_k");
  EXPECT_LE(files.size(), kMentions) << testing::PrintToString(files);
  EXPECT_GE(files.size(), 2u) << "the check looks at the wrong folder";
}

TEST(HabitsTest, OnlyGridsPresetsAndFastKernelsNameAGrid) {
  int grids = 0;
  for (const Grid* grid : AllGrids()) {
    if (grid->plain) continue;  // f32 and its like are words of their own
    EXPECT_THAT(CodeThatNames(Code(), std::string(grid->name)), IsEmpty()) << grid->name;
    ++grids;
  }
  EXPECT_GE(grids, 20);
}

TEST(HabitsTest, HeadersBeginWithTheirSpecification) {
  EXPECT_THAT(WithoutHeaderComment(Code()), IsEmpty());
}

TEST(HabitsTest, FilesHaveAnEnd) { EXPECT_THAT(TooLong(Code()), IsEmpty()); }

TEST(HabitsTest, NothingNamesTheMachineItWasWrittenOn) {
  SourceTree tree = Code();
  tree.merge(LoadTree(SourcePath(), {"cmake", "docs", "scripts", "data"}));
  tree.erase("tests/structure/habits_test.cc");
  EXPECT_GT(tree.size(), Code().size());
  EXPECT_THAT(MachinePaths(tree, SourcePath()), IsEmpty());
}

// ---- A tree that breaks them is caught ----

TEST(HabitsTest, CatchesMentions) {
  const SourceTree tree = {{"src/grid/q4_k.h", "struct Q4_K {"},
                           {"src/grid/grids.def", "HT_GRID(q4_k, Q4_K)"},
                           {"src/pipeline/presets.def", "\"q4_k\""},
                           {"src/kernel/cpu/fast/q4_k.h", "Q4_K"},
                           {"src/kernel/cpu/ops_test.cc", "q4_k"},
                           {"src/kernel/cpu/comment.cc", "// faster than q4_k\n"},
                           {"src/container/other.cc", "format == \"q4_k-packed\""},
                           {"src/kernel/cpu/vector_ops.cc", "if (name == \"q4_k\") {"}};
  EXPECT_EQ(FilesThatMention(tree, "q4_k").size(), 6u);
  EXPECT_THAT(CodeThatNames(tree, "q4_k"), ElementsAre("src/kernel/cpu/vector_ops.cc"));
}

TEST(HabitsTest, CatchesHeadersWithoutSpecification) {
  EXPECT_THAT(WithoutHeaderComment({{"src/base/a.h", "#pragma once\n"},
                                    {"src/base/b.h", "// What b is.\n"},
                                    {"src/base/c.cc", "#include <vector>\n"},
                                    {"src/base/d.def", "\n// late\n"}}),
              ElementsAre("src/base/a.h", "src/base/d.def"));
}

TEST(HabitsTest, CatchesLongFiles) {
  EXPECT_THAT(TooLong({{"a.cc", std::string(600, '\n')}, {"b.cc", std::string(601, '\n')}}),
              ElementsAre("b.cc: 601 lines"));
}

TEST(HabitsTest, CatchesMachinePaths) {
  EXPECT_THAT(MachinePaths({{"a", "see /home/ann/models"},
                            {"b", "/home/someone/models, https://x.org/home/ann/, ../work/x"},
                            {"c", "\"/root/x\""},
                            {"d", "in /opt/halftone/src"}},
                           "/opt/halftone"),
              ElementsAre("a", "c", "d"));
}

}  // namespace
}  // namespace halftone
