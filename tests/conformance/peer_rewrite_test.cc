// What Halftone writes against what bitsandbytes and compressed-tensors wrote: their folders, read
// and written again, and the models that their folders were made from, rounded to the same grid and
// written, must have the same tensors, to the byte.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/half.h"
#include "container/container.h"
#include "container/safetensors_file.h"
#include "grid/grouped.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* container;
  const char* grid;
  const char* source;  // the model that it was made from
};

constexpr Folder kFolders[] = {
    {"tiny-bnb-nf4", "bnb", "nf4:g64", "tiny-bf16"},
    {"tiny-bnb-fp4", "bnb", "fp4:g64", "small-bf16"},
    {"tiny-bnb-int8", "bnb", "int8:row:absmax", "tiny-bf16"},
    {"tiny-ct-pack-quantized", "compressed-tensors", "int4:g128:bf16", "tiny-bf16"},
    {"small-ct-pack-quantized-asym", "compressed-tensors", "int4:g32:asym:bf16", "small-bf16"},
    {"small-ct-fp8-dynamic", "compressed-tensors", "fp8:row:bf16", "small-bf16"},
};

using Contents = std::map<std::string, std::string>;

Contents ContentsOf(const std::filesystem::path& folder) {
  Contents contents;
  for (const SafetensorsTensor& t : ReadSafetensors(folder / "model.safetensors").tensors) {
    contents[t.name].append(t.data.begin(), t.data.end());
  }
  return contents;
}

Contents Written(const std::string& container, const CheckpointPlan& plan,
                 const std::vector<std::vector<uint8_t>>& blocks) {
  const TempFolder temp;
  const auto writer = ContainerNamed(container).create(temp.path() / "out", plan);
  for (const auto& all : blocks) writer->Append(all);
  writer->Commit();
  return ContentsOf(temp.path() / "out");
}

Contents WrittenAgain(const std::string& container, const Checkpoint& checkpoint) {
  CheckpointPlan plan;
  std::vector<std::vector<uint8_t>> blocks;
  for (const Tensor& t : checkpoint.tensors) {
    plan.tensors.push_back({t.name, t.grid, t.shape});
    const Tensor loaded = Loaded(t);
    blocks.emplace_back(loaded.data.begin(), loaded.data.end());
  }
  return Written(container, plan, blocks);
}

bool IsLinear(const Tensor& tensor) {
  return tensor.shape.size() == 2 && tensor.name.find("_proj.") != std::string::npos;
}

// The source with its linear layers rounded to the nearest of `grid`.
Contents Quantized(const std::string& container, const Checkpoint& source, const char* grid_name) {
  CheckpointPlan plan;
  std::vector<std::vector<uint8_t>> blocks;
  for (const Tensor& t : source.tensors) {
    const Grid* grid = IsLinear(t) ? FindGrid(grid_name, t.cols()) : t.grid;
    plan.tensors.push_back({t.name, grid, t.shape});
    if (!IsLinear(t)) {
      blocks.emplace_back(t.data.begin(), t.data.end());
      continue;
    }
    const std::vector<float> values = Decode(t);
    std::vector<uint8_t>& rounded = blocks.emplace_back(plan.tensors.back().bytes());
    for (int64_t r = 0; r < t.rows(); ++r) {
      grid->Encode(values.data() + r * t.cols(), t.cols(), nullptr,
                   rounded.data() + r * grid->RowBytes(t.cols()));
    }
  }
  return Written(container, plan, blocks);
}

std::filesystem::path Source(const std::string& name) {
  return name == "tiny-bf16" ? TinyBf16Folder() : SharedPath("fixtures/" + name);
}

class PeerRewriteTest : public testing::TestWithParam<Folder> {};

TEST_P(PeerRewriteTest, ReadAndWrittenAgain) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  const Contents written = WrittenAgain(GetParam().container, OpenCheckpoint(SharedPath(folder)));
  const Contents expected = ContentsOf(SharedPath(folder));
  EXPECT_EQ(written.size(), expected.size());
  for (const auto& [name, bytes] : expected) {
    ASSERT_TRUE(written.contains(name)) << name;
    EXPECT_TRUE(written.at(name) == bytes) << name;
  }
}

TEST_P(PeerRewriteTest, RoundedAndWritten) {
  const std::string folder = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(folder);
  HALFTONE_NEED_SHARED("fixtures/" + std::string(GetParam().source));
  const Contents written =
      Quantized(GetParam().container, OpenCheckpoint(Source(GetParam().source)), GetParam().grid);
  int compared = 0;
  for (const auto& [name, bytes] : ContentsOf(SharedPath(folder))) {
    ASSERT_TRUE(written.contains(name)) << name;
    if (name.find("_proj.") == std::string::npos) continue;  // plain ones may be in another type
    EXPECT_TRUE(written.at(name) == bytes) << name;
    ++compared;
  }
  EXPECT_GE(compared, 2 * 14);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, PeerRewriteTest, testing::ValuesIn(kFolders),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(PeerRewriteTest, MxfpFourReadAndWrittenAgain) {
  const std::string folder = "fixtures/small-ct-mxfp4a16";
  HALFTONE_NEED_SHARED(folder);
  EXPECT_TRUE(WrittenAgain("compressed-tensors", OpenCheckpoint(SharedPath(folder))) ==
              ContentsOf(SharedPath(folder)));
}

// On a CPU bitsandbytes searches the levels of scales by an approximation, which takes the second
// nearest for a few that lie in the middle between two; those may differ.
TEST(PeerRewriteTest, DoubleQuantization) {
  const std::string folder = "fixtures/tiny-bnb-nf4-dq";
  HALFTONE_NEED_SHARED(folder);
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  const Contents written = Quantized("bnb", OpenCheckpoint(TinyBf16Folder()), "nf4:g64:dq");
  int codes = 0, differ = 0;
  for (const auto& [name, bytes] : ContentsOf(SharedPath(folder))) {
    ASSERT_TRUE(written.contains(name)) << name;
    const std::string& own = written.at(name);
    if (name.ends_with(".nested_absmax")) {
      ASSERT_EQ(own.size(), bytes.size());
      for (size_t at = 0; at < own.size(); at += 4) {
        EXPECT_FLOAT_EQ(LoadLe<float>(own.data() + at), LoadLe<float>(bytes.data() + at)) << name;
      }
    } else if (name.ends_with(".absmax")) {
      ASSERT_EQ(own.size(), bytes.size());
      for (size_t i = 0; i < own.size(); ++i) {
        const int distance =
            std::abs(static_cast<uint8_t>(own[i]) - static_cast<uint8_t>(bytes[i]));
        EXPECT_LE(distance, 1) << name << " " << i;
        differ += distance;
      }
      codes += static_cast<int>(own.size());
    } else if (name.find(".quant_state.") == std::string::npos) {
      EXPECT_TRUE(own == bytes) << name;  // codes and levels, those of the scales included
    }
  }
  EXPECT_GT(codes, 10000);
  EXPECT_LT(differ, codes / 200);
}

}  // namespace
}  // namespace halftone
