// The tables against what users see of them: each entry of a .def file is a record of the library
// and is listed by `halftone version --json`; each public header compiles by itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "container/container.h"
#include "grid/grid.h"
#include "method/transform.h"
#include "model/architecture.h"
#include "tests/cli/program.h"
#include "tests/structure/source_tree.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;
using testing::Not;

nlohmann::json Version() {
  const Finished run = Halftone({"version", "--json"});
  EXPECT_EQ(run.code, 0) << run.err;
  return nlohmann::json::parse(run.out);
}

std::vector<std::string> Names(const nlohmann::json& entries) {
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.is_string() ? entry : entry["name"]);
  return names;
}

template <class Records>
std::vector<std::string> NamesOf(const Records& records) {
  std::vector<std::string> names;
  for (const auto* record : records) names.emplace_back(record->name);
  return names;
}

std::vector<std::string> Table(const std::string& path, const std::string& macro) {
  const auto entries = TableEntries(Code().at(path), macro);
  EXPECT_THAT(entries, Not(IsEmpty())) << path;
  return entries;
}

// The records and the listing, in the order of the table. Only grids are named by their line; a
// container may be spelled differently from its file.
TEST(TablesTest, VersionListsEveryGrid) {
  const auto lines = Table("src/grid/grids.def", "HT_GRID");
  EXPECT_THAT(NamesOf(AllGrids()), ElementsAreArray(lines));
  EXPECT_THAT(Names(Version()["grids"]), ElementsAreArray(lines));
}

TEST(TablesTest, VersionListsEveryMethod) {
  EXPECT_EQ(AllMethods().size(), Table("src/method/methods.def", "HT_METHOD").size());
  EXPECT_EQ(AllTransforms().size(), Table("src/method/transforms.def", "HT_TRANSFORM").size());
  auto names = NamesOf(AllMethods());
  for (const std::string& name : NamesOf(AllTransforms())) names.push_back(name);
  EXPECT_THAT(Names(Version()["methods"]), ElementsAreArray(names));
}

TEST(TablesTest, VersionListsEveryContainer) {
  EXPECT_EQ(AllContainers().size(), Table("src/container/containers.def", "HT_CONTAINER").size());
  EXPECT_THAT(Names(Version()["containers"]), ElementsAreArray(NamesOf(AllContainers())));
}

TEST(TablesTest, VersionListsEveryArchitecture) {
  EXPECT_EQ(AllArchitectures().size(),
            Table("src/model/architectures.def", "HT_ARCHITECTURE").size());
  EXPECT_THAT(Names(Version()["architectures"]), ElementsAreArray(NamesOf(AllArchitectures())));
}

// The help of quantize too, for what it can write.
TEST(TablesTest, HelpListsWhatCanBeWritten) {
  const std::string help = Halftone({"quantize", "--help"}).out;
  for (const Grid* grid : AllGrids()) {
    const std::regex word("\\s" + std::string(grid->name) + "\\s");
    EXPECT_EQ(std::regex_search(help, word), grid->encode != nullptr) << grid->name;
  }
  for (const auto& names :
       {NamesOf(AllMethods()), NamesOf(AllTransforms()), NamesOf(AllContainers())}) {
    for (const std::string& name : names) {
      EXPECT_NE(help.find("\n  " + name + " "), std::string::npos) << name;
    }
  }
}

// "" if the compiler accepts a file that holds nothing but this include, else what it says.
std::string Complaints(const std::filesystem::path& folder, const std::string& header) {
  const TempFolder temp;
  const auto source = temp.Write("alone.cc", "#include \"" + header + "\"\n");
  const auto log = temp.path() / "log";
  const std::string command = std::string("'") + HALFTONE_CXX + "' -std=c++20 -fsyntax-only -I '" +
                              folder.string() + "' '" + source.string() + "' > '" + log.string() +
                              "' 2>&1";
  if (std::system(command.c_str()) == 0) return "";
  return ReadBytes(log) + "(" + command + ")";
}

TEST(PublicHeadersTest, CompileAlone) {
  int headers = 0;
  for (const auto& [path, text] : Code()) {
    if (!path.starts_with("include/")) continue;
    const std::filesystem::path include = SourcePath("include");
    EXPECT_EQ(Complaints(include, path.substr(8)), "") << path;
    ++headers;
  }
  EXPECT_GE(headers, 9);
}

// The test of this test.
TEST(PublicHeadersTest, CatchesAHeaderThatNeedsAnother) {
  const TempFolder folder;
  folder.Write("needs.h", "#pragma once\nstd::string Name();\n");
  folder.Write("has.h", "#pragma once\n#include <string>\nstd::string Name();\n");
  EXPECT_THAT(Complaints(folder.path(), "needs.h"), Not(IsEmpty()));
  EXPECT_EQ(Complaints(folder.path(), "has.h"), "");
}

}  // namespace
}  // namespace halftone
