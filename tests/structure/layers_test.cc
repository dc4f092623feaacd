// Who may include whom (docs/architecture.md): a folder under src/ sees only folders that are lower
// in the order, folders on one step are blind to one another, front ends see the public headers
// only, and what knows a grid's bytes, an instruction set or a device stays where it belongs. Each
// rule is also held against a small tree that breaks it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/structure/source_tree.h"

namespace halftone {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Violations = std::vector<std::string>;

// Lowest first; the folders of one step do not see one another.
const std::vector<std::vector<std::string>> kSteps = {
    {"base"},
    {"grid", "hub"},
    {"tensor"},
    {"kernel"},
    {"container", "method", "model", "tokenizer"},
    {"engine"},
    {"calibration", "evaluation", "training"},
    {"pipeline"},
};

// -1 for a folder that has no place in the order.
int StepOf(const std::string& layer) {
  for (size_t step = 0; step < kSteps.size(); ++step) {
    if (std::ranges::count(kSteps[step], layer) > 0) return static_cast<int>(step);
  }
  return -1;
}

std::string Arrow(const std::string& path, const std::string& included) {
  return path + " includes " + included;
}

// ---- The rules ----

// Tests beside the code may use what is above it, to make their inputs.
Violations OfLayers(const SourceTree& tree) {
  Violations found;
  for (const auto& [path, text] : tree) {
    const std::string layer = LayerOf(path);
    if (layer.empty() || !IsCpp(path)) continue;
    if (StepOf(layer) < 0) {
      found.push_back(path + " lies in a folder that has no place in the order");
      continue;
    }
    for (const Include& include : Includes(text)) {
      const std::string other = LayerOf("src/" + include.name);
      if (!include.quoted || StepOf(other) < 0 || other == layer || IsTest(path)) continue;
      if (StepOf(other) >= StepOf(layer)) found.push_back(Arrow(path, include.name));
    }
  }
  return found;
}

Violations OfFrontEnds(const SourceTree& tree) {
  Violations found;
  for (const auto& [path, text] : tree) {
    const std::string front_end = path.substr(0, path.find('/') + 1);
    if (front_end != "cli/" && front_end != "server/" && front_end != "python/") continue;
    if (!IsCpp(path) || IsTest(path)) continue;
    for (const Include& include : Includes(text)) {
      if (include.quoted && !include.name.starts_with("halftone/") &&
          !include.name.starts_with(front_end)) {
        found.push_back(Arrow(path, include.name));
      }
    }
  }
  return found;
}

// ops.h is all that anybody sees of the kernels, tests and benchmarks included; the folders of the
// devices do not see one another.
Violations OfKernels(const SourceTree& tree) {
  Violations found;
  for (const auto& [path, text] : tree) {
    if (!IsCpp(path)) continue;
    for (const Include& include : Includes(text)) {
      if (!include.name.starts_with("kernel/") || include.name == "kernel/ops.h") continue;
      const std::string folder = include.name.substr(0, include.name.rfind('/') + 1);
      const size_t device = folder.find('/', 7);
      const std::string own = device == std::string::npos ? folder : folder.substr(0, device + 1);
      if (!path.starts_with("src/" + own)) found.push_back(Arrow(path, include.name));
    }
  }
  return found;
}

// A grid's own header knows its bytes. Its unit is generated; besides, other grids may build on it
// and fast kernels read it.
Violations OfGridHeaders(const SourceTree& tree) {
  Violations found;
  const auto table = tree.find("src/grid/grids.def");
  if (table == tree.end()) return {"src/grid/grids.def is missing"};
  std::set<std::string> headers;
  for (const std::string& name : TableEntries(table->second, "HT_GRID")) {
    headers.insert("grid/" + name + ".h");
  }
  static const std::regex allowed("src/grid/.*|src/kernel/[a-z]+/fast/.*|src/kernel/.*_test.cc");
  for (const auto& [path, text] : tree) {
    if (!IsCpp(path) || std::regex_match(path, allowed)) continue;
    for (const Include& include : Includes(text)) {
      if (headers.contains(include.name)) found.push_back(Arrow(path, include.name));
    }
  }
  return found;
}

// Where each library may appear. Searching for scales and lattice points belongs to encoding, which
// is a grid's.
struct Place {
  const char* header;  // a regular expression, as the next
  const char* path;
};
const Place kPlaces[] = {
    {"hwy/.*",
     "src/kernel/cpu/.*|src/grid/[a-z0-9_]*search.*|src/method/(factor|feedback|gram_error).*|src/"
     ".*_test.cc"},
    {"immintrin.h|x86intrin.h|arm_neon.h|arm_sve.h", "src/kernel/cpu/.*"},
    {"cuda.*|cublas.*|nvrtc.*|mma.h", "src/kernel/cuda/.*|src/.*_test.cc|tests/.*"},
    {"pcre2.*", "src/tokenizer/.*"},
    {"nlohmann/.*", "src/base/json.h|cli/.*|server/.*|python/.*|bench/.*|tests/.*|.*_test.cc"},
    {"CLI/.*", "cli/.*"},
    {"curl/.*", "src/hub/curl_transport.cc"},
    {"pybind11/.*|nanobind/.*|Python.h", "python/.*"},
    {"openssl/.*", "src/hub/digest.cc|tests/.*|.*_test.cc"},
    {"gtest/.*|gmock/.*", "tests/.*|.*_test.cc"},
    {"benchmark/.*", "bench/.*"},
};

Violations OfLibraries(const SourceTree& tree) {
  Violations found;
  for (const auto& [path, text] : tree) {
    if (!IsCpp(path)) continue;
    for (const Include& include : Includes(text)) {
      for (const Place& place : kPlaces) {
        if (std::regex_match(include.name, std::regex(place.header)) &&
            !std::regex_match(path, std::regex(place.path))) {
          found.push_back(Arrow(path, include.name));
        }
      }
    }
  }
  return found;
}

// The public headers: the standard library and one another, nothing else.
Violations OfPublicHeaders(const SourceTree& tree) {
  static const std::regex standard("[a-z0-9_]+");
  Violations found;
  for (const auto& [path, text] : tree) {
    if (!path.starts_with("include/")) continue;
    for (const Include& include : Includes(text)) {
      const bool own = include.quoted && include.name.starts_with("halftone/");
      if (!own && (include.quoted || !std::regex_match(include.name, standard))) {
        found.push_back(Arrow(path, include.name));
      }
    }
  }
  return found;
}

// ---- This tree keeps them ----

TEST(LayersTest, TheTreeIsThere) {
  EXPECT_GT(Code().size(), 150u);
  int edges = 0;
  std::set<std::string> layers;
  for (const auto& [path, text] : Code()) {
    edges += static_cast<int>(Includes(text).size());
    if (!LayerOf(path).empty()) layers.insert(LayerOf(path));
  }
  EXPECT_GT(edges, 500);
  EXPECT_GE(layers.size(), 11u);
}

TEST(LayersTest, FoldersIncludeOnlyLowerOnes) { EXPECT_THAT(OfLayers(Code()), IsEmpty()); }

TEST(LayersTest, FrontEndsSeeThePublicHeadersOnly) { EXPECT_THAT(OfFrontEnds(Code()), IsEmpty()); }

TEST(LayersTest, KernelsAreSeenThroughOps) { EXPECT_THAT(OfKernels(Code()), IsEmpty()); }

TEST(LayersTest, GridHeadersStayWithTheirGrids) { EXPECT_THAT(OfGridHeaders(Code()), IsEmpty()); }

TEST(LayersTest, LibrariesStayInTheirPlaces) { EXPECT_THAT(OfLibraries(Code()), IsEmpty()); }

TEST(LayersTest, PublicHeadersNeedTheStandardLibraryOnly) {
  EXPECT_THAT(OfPublicHeaders(Code()), IsEmpty());
}

// ---- A tree that breaks them is caught ----

TEST(LayersTest, CatchesUpwardAndSidewaysIncludes) {
  EXPECT_THAT(OfLayers({{"src/base/a.cc", "#include \"grid/grid.h\"\n"},
                        {"src/engine/a.cc", "#include \"container/container.h\"\n"},
                        {"src/method/a.h", "// x\n  # include \"model/architecture.h\""},
                        {"src/method/a_test.cc", "#include \"pipeline/source.h\"\n"},
                        {"src/evaluation/a.cc", "#include \"calibration/importance.h\"\n"},
                        {"src/kernel/cpu/a.cc", "#include \"kernel/ops.h\"\n"},
                        {"src/odd/a.h", ""}}),
              ElementsAre("src/base/a.cc includes grid/grid.h",
                          "src/evaluation/a.cc includes calibration/importance.h",
                          "src/method/a.h includes model/architecture.h",
                          "src/odd/a.h lies in a folder that has no place in the order"));
}

TEST(LayersTest, CatchesFrontEndsThatLookInside) {
  EXPECT_THAT(OfFrontEnds({{"cli/a.cc", "#include \"cli/b.h\"\n#include \"base/error.h\"\n"},
                           {"python/a.cc", "#include \"halftone/plan.h\"\n"},
                           {"server/a.cc", "#include \"cli/b.h\"\n"}}),
              ElementsAre("cli/a.cc includes base/error.h", "server/a.cc includes cli/b.h"));
}

TEST(LayersTest, CatchesKernelInternalsOutside) {
  EXPECT_THAT(OfKernels({{"src/engine/a.cc", "#include \"kernel/ops.h\"\n"},
                         {"src/engine/b.cc", "#include \"kernel/cpu/isa.h\"\n"},
                         {"src/kernel/cpu/fast/a.h", "#include \"kernel/cpu/isa.h\"\n"},
                         {"src/kernel/cuda/a.cu", "#include \"kernel/cpu/isa.h\"\n"},
                         {"tests/x/a_test.cc", "#include \"kernel/cpu/fast/q4_k.h\"\n"}}),
              ElementsAre("src/engine/b.cc includes kernel/cpu/isa.h",
                          "src/kernel/cuda/a.cu includes kernel/cpu/isa.h",
                          "tests/x/a_test.cc includes kernel/cpu/fast/q4_k.h"));
}

TEST(LayersTest, CatchesGridHeadersElsewhere) {
  const std::string include = "#include \"grid/q4_k.h\"\n";
  EXPECT_THAT(OfGridHeaders({{"src/grid/grids.def", "// t\nHT_GRID(f32, F32)\nHT_GRID(q4_k, K)\n"},
                             {"src/grid/iq4_xs.h", include},
                             {"src/kernel/cpu/fast/q4_k.h", include},
                             {"src/kernel/cpu/vector_ops.cc", include},
                             {"src/method/gptq.cc", "#include \"grid/grid.h\"\n" + include}}),
              ElementsAre("src/kernel/cpu/vector_ops.cc includes grid/q4_k.h",
                          "src/method/gptq.cc includes grid/q4_k.h"));
}

TEST(LayersTest, CatchesLibrariesOutOfPlace) {
  EXPECT_THAT(OfLibraries({{"src/engine/a.cc", "#include \"hwy/highway.h\"\n"},
                           {"src/kernel/cpu/a.cc", "#include \"hwy/highway.h\"\n"},
                           {"src/pipeline/a.cc", "#include <nlohmann/json.hpp>\n"},
                           {"src/kernel/ops.h", "#include <cuda_runtime.h>\n"}}),
              ElementsAre("src/engine/a.cc includes hwy/highway.h",
                          "src/kernel/ops.h includes cuda_runtime.h",
                          "src/pipeline/a.cc includes nlohmann/json.hpp"));
}

TEST(LayersTest, CatchesPublicHeadersThatBringMore) {
  EXPECT_THAT(OfPublicHeaders({{"include/halftone/a.h",
                                "#include <vector>\n#include <cstdint>\n"
                                "#include \"halftone/error.h\"\n"
                                "#include <fmt/format.h>\n"},
                               {"include/halftone/b.h", "#include \"base/half.h\"\n"},
                               {"include/halftone/c.h", "#include <unistd.h>\n"}}),
              ElementsAre("include/halftone/a.h includes fmt/format.h",
                          "include/halftone/b.h includes base/half.h",
                          "include/halftone/c.h includes unistd.h"));
}

}  // namespace
}  // namespace halftone
