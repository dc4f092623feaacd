// Models that are larger than the memory that there is for them. The inputs are files of zeros that
// take no room on the disk, and what is measured is all that the process held at its peak, mapped
// pages of the input included: a command that kept its input, or a tensor of it, would hold several
// times what is allowed here.

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

constexpr uint64_t kAllowed = 330'000'000;
// Matrices that share their input are multiplied together: gate and up have 537 MB.
constexpr uint64_t kAllowedToRun = 650'000'000;

class MemoryTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer's own memory is not what is meant";
#endif
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  // About a gigabyte; the largest tensors have 268 MB.
  std::string SparseModel() const {
    TinyModel model;
    model.width = 4096;
    model.feed_forward = 16384;
    model.WriteSparse(Path("sparse.gguf"));
    EXPECT_GT(std::filesystem::file_size(Path("sparse.gguf")), 3 * kAllowed);
    return Path("sparse.gguf");
  }

  void ExpectStreamed(const std::vector<std::string>& arguments,
                      uint64_t allowed = kAllowed) const {
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_LT(run.peak_bytes, allowed) << arguments[0];
    RecordProperty(arguments[0] + "_peak_bytes", std::to_string(run.peak_bytes));
  }

  TempFolder folder_;
};

TEST_F(MemoryTest, QuantizesTensorByTensor) {
  ExpectStreamed({"quantize", SparseModel(), "-o", Path("out.gguf"), "--grid", "q4_0"});
}

// Copied to a folder, and from there, with rows in another order, to a file.
TEST_F(MemoryTest, ConvertsTensorByTensor) {
  ExpectStreamed({"convert", SparseModel(), "-o", Path("folder"), "--container", "safetensors"});
  ExpectStreamed({"convert", Path("folder"), "-o", Path("out.gguf"), "--container", "gguf"});
}

// What was rounded or put together while loading does not need its file any more: of 1.2 GB one
// layer of 403 MB is there at a time, beside the 4-bit weights of all.
TEST_F(MemoryTest, LoadsLayerByLayer) {
  TinyModel model;
  model.width = 4096;
  model.feed_forward = 4096;
  model.layers = 3;
  model.WriteSparse(Path("deep.gguf"));
  EXPECT_GT(std::filesystem::file_size(Path("deep.gguf")), uint64_t{1'100'000'000});
  const std::string text = folder_.Write("text.txt", TinyText(400)).string();
  ExpectStreamed({"evaluate", Path("deep.gguf"), "--load-in-4bit", "--text", text, "--context",
                  "16", "--chunks", "2"},
                 800'000'000);
}

TEST_F(MemoryTest, MeasuresImportancesStageByStage) {
  const std::string text = folder_.Write("text.txt", TinyText(400)).string();
  ExpectStreamed({"imatrix", SparseModel(), "--text", text, "-o", Path("imatrix.gguf"), "--context",
                  "16", "--chunks", "1"},
                 kAllowedToRun);
}

}  // namespace
}  // namespace halftone
