// Folders of GPTQModel and AutoAWQ, read and written again: the same tensors, to the byte.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "container/container.h"
#include "container/safetensors_file.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* container;
  bool same_zeros = true;
};

std::map<std::string, std::string> TensorsOf(const std::filesystem::path& folder) {
  std::map<std::string, std::string> tensors;
  for (const SafetensorsTensor& t : ReadSafetensors(folder / "model.safetensors").tensors) {
    std::string& text = tensors[t.name];
    text = std::string(t.dtype->name) + ShapeText(t.shape);
    text.append(t.data.begin(), t.data.end());
  }
  return tensors;
}

// The checkpoint in the container that it came in.
void WriteAgain(const Checkpoint& checkpoint, const std::filesystem::path& path) {
  CheckpointPlan plan;
  plan.documents = checkpoint.documents;
  for (const Tensor& t : checkpoint.tensors) {
    plan.tensors.push_back({t.name, t.grid, t.shape, t.order});
  }
  const auto writer = ContainerNamed(checkpoint.container).create(path, plan);
  for (const Tensor& t : checkpoint.tensors) writer->Append(Loaded(t).data);
  writer->Commit();
}

class PackedRewriteTest : public testing::TestWithParam<Folder> {};

TEST_P(PackedRewriteTest, GivesTheSameTensors) {
  const std::string name = std::string("fixtures/") + GetParam().name;
  HALFTONE_NEED_SHARED(name);
  const Checkpoint checkpoint = OpenCheckpoint(SharedPath(name));
  EXPECT_EQ(checkpoint.container, GetParam().container);
  const TempFolder folder;
  WriteAgain(checkpoint, folder.path() / "out");
  auto expected = TensorsOf(SharedPath(name)), written = TensorsOf(folder.path() / "out");
  EXPECT_EQ(expected.size(), written.size());
  if (!GetParam().same_zeros) {
    const auto is_zeros = [](const auto& t) { return t.first.ends_with(".qzeros"); };
    EXPECT_EQ(std::erase_if(expected, is_zeros), std::erase_if(written, is_zeros));
  }
  for (const auto& [tensor, bytes] : expected) EXPECT_TRUE(bytes == written[tensor]) << tensor;
  // Read again, every weight is what it was.
  const Checkpoint again = OpenCheckpoint(folder.path() / "out");
  for (const Tensor& t : checkpoint.tensors) {
    const Tensor& other = again.Get(t.name);
    EXPECT_EQ(other.grid, t.grid) << t.name;
    EXPECT_TRUE(Decode(other) == Decode(t)) << t.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, PackedRewriteTest,
                         testing::Values(Folder{"tiny-gptq-4bit-g128", "gptq"},
                                         Folder{"tiny-gptq-4bit-g128-actorder", "gptq"},
                                         Folder{"tiny-gptq-8bit-g128", "gptq"},
                                         Folder{"tiny-gptq-3bit-g64", "gptq"},
                                         Folder{"small-gptq-2bit-g64", "gptq"},
                                         // Asymmetric ones are always written in format gptq_v2.
                                         Folder{"small-gptq-4bit-g32-asym-v1", "gptq", false},
                                         Folder{"small-gptq-4bit-g64-asym-v2", "gptq"},
                                         Folder{"tiny-awq-gemm-4bit-g128", "awq"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// All of the file: its order and header, too.
TEST(PackedRewriteTest, GivesAutoAwqsFileToTheByte) {
  const std::string name = "fixtures/tiny-awq-gemm-4bit-g128";
  HALFTONE_NEED_SHARED(name);
  const TempFolder folder;
  WriteAgain(OpenCheckpoint(SharedPath(name)), folder.path() / "out");
  EXPECT_TRUE(ReadBytes(folder.path() / "out" / "model.safetensors") ==
              ReadBytes(SharedPath(name + "/model.safetensors")));
}

}  // namespace
}  // namespace halftone
