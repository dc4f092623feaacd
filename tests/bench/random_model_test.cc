// The models of random weights that speed is measured with: that they are what their program's
// header says, on every grid, and that they run.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grid.h"
#include "halftone/evaluate.h"
#include "tensor/tensor.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

class RandomModelTest : public testing::Test {
 protected:
  // Runs the program; returns its exit code.
  int Make(const std::string& name, const std::string& arguments) const {
    const std::string command =
        RandomModelPath() + " '" + Path(name) + "' " + arguments + " 2>'" + Path("errors") + "'";
    return WEXITSTATUS(std::system(command.c_str()));
  }
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string Bytes(const std::string& name) const { return ReadBytes(Path(name)); }

  const TempFolder folder_;
};

// The r-th moment of the values in units of `deviation`.
double Moment(const std::vector<float>& values, int r, double deviation) {
  double sum = 0;
  for (const float v : values) sum += std::pow(v / deviation, r);
  return sum / static_cast<double>(values.size());
}

TEST_F(RandomModelTest, SeedAndShapeAloneDecideTheBytes) {
  ASSERT_EQ(Make("a", "--grid q4_k --threads 1"), 0);
  ASSERT_EQ(Make("b", "--grid q4_k --threads 3"), 0);
  ASSERT_EQ(Make("c", "--grid q4_k --seed 1"), 0);
  EXPECT_EQ(Bytes("a"), Bytes("b"));
  EXPECT_EQ(Bytes("a").size(), Bytes("c").size());
  EXPECT_NE(Bytes("a"), Bytes("c"));
}

TEST_F(RandomModelTest, HasTheShapeThatWasAskedFor) {
  ASSERT_EQ(Make("m", "--hidden 128 --layers 3 --heads 4 --kv-heads 2 --ffn 320 --vocabulary 300"),
            0);
  const Checkpoint m = OpenCheckpoint(Path("m"));
  EXPECT_EQ(m.tensors.size(), 3u + 9 * 3);
  const auto shape = [&](const char* name) { return m.Get(name).shape; };
  EXPECT_EQ(shape("token_embd.weight"), (std::vector<int64_t>{300, 128}));
  EXPECT_EQ(shape("output.weight"), (std::vector<int64_t>{300, 128}));
  EXPECT_EQ(shape("blk.2.attn_q.weight"), (std::vector<int64_t>{128, 128}));
  EXPECT_EQ(shape("blk.2.attn_v.weight"), (std::vector<int64_t>{64, 128}));
  EXPECT_EQ(shape("blk.2.ffn_down.weight"), (std::vector<int64_t>{128, 320}));
  EXPECT_EQ(m.metadata.Int("llama.rope.dimension_count"), 32);
  EXPECT_EQ(m.metadata.Strings("tokenizer.ggml.tokens")->size(), 300u);
  ASSERT_EQ(Make("wide", "--head 96 --tied"), 0);
  const Checkpoint wide = OpenCheckpoint(Path("wide"));
  EXPECT_EQ(wide.Get("blk.0.attn_q.weight").shape, (std::vector<int64_t>{4 * 96, 256}));
  EXPECT_EQ(wide.Find("output.weight"), nullptr);
}

TEST_F(RandomModelTest, EmbeddingAndOutputMayHaveAnotherGrid) {
  ASSERT_EQ(Make("m", "--grid q4_0 --output-grid q6_k"), 0);
  const Checkpoint m = OpenCheckpoint(Path("m"));
  EXPECT_EQ(m.Get("token_embd.weight").grid->name, "q6_k");
  EXPECT_EQ(m.Get("output.weight").grid->name, "q6_k");
  EXPECT_EQ(m.Get("blk.0.attn_q.weight").grid->name, "q4_0");
}

TEST_F(RandomModelTest, PiecesAreDistinct) {
  ASSERT_EQ(Make("m", "--vocabulary 4000"), 0);
  const auto tokens = *OpenCheckpoint(Path("m")).metadata.Strings("tokenizer.ggml.tokens");
  EXPECT_EQ(std::set<std::string>(tokens.begin(), tokens.end()).size(), 4000u);
}

// Four uniform numbers added have a kurtosis of 3 - 6 / 5 / 4.
TEST_F(RandomModelTest, WeightsAreNearNormal) {
  ASSERT_EQ(Make("m", "--grid f32 --layers 2"), 0);
  const Checkpoint m = OpenCheckpoint(Path("m"));
  for (const auto& [name, variance] :
       {std::pair{"output.weight", 1.0 / 256}, std::pair{"blk.1.ffn_up.weight", 1.0 / 256},
        std::pair{"blk.1.ffn_down.weight", 1.0 / 768 / 4}}) {
    const auto values = Decode(m.Get(name));
    EXPECT_NEAR(Moment(values, 1, std::sqrt(variance)), 0, 0.01) << name;
    EXPECT_NEAR(Moment(values, 2, std::sqrt(variance)), 1, 0.02) << name;
    EXPECT_NEAR(Moment(values, 4, std::sqrt(variance)), 2.7, 0.1) << name;
  }
  EXPECT_NE(Decode(m.Get("blk.0.ffn_up.weight")), Decode(m.Get("blk.1.ffn_up.weight")));
  const Tensor& output = m.Get("output.weight");
  std::set<std::string> rows;
  for (int64_t r = 0; r < output.rows(); ++r) {
    rows.emplace(reinterpret_cast<const char*>(output.row(r).data()), output.row_bytes());
  }
  EXPECT_EQ(static_cast<int64_t>(rows.size()), output.rows());
}

TEST_F(RandomModelTest, EveryWritableGridHoldsTheSameWeights) {
  ASSERT_EQ(Make("f32", "--grid f32 --layers 1"), 0);
  const Checkpoint original = OpenCheckpoint(Path("f32"));
  const Tensor& expected = original.Get("blk.0.ffn_up.weight");
  std::vector<float> values(256), rounded(256);
  int grids = 0;
  for (const Grid* grid : AllGrids()) {
    if (!grid->writable() || grid->gguf_type < 0) continue;
    const std::string name(grid->name);
    ASSERT_EQ(Make(name, "--layers 1 --grid " + name), 0) << Bytes("errors");
    const Checkpoint m = OpenCheckpoint(Path(name));
    const Tensor& tensor = m.Get("blk.0.ffn_up.weight");
    ASSERT_EQ(tensor.grid, grid);
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      DecodeRow(expected, grid->plain ? r : r % 64, values.data());
      DecodeRow(tensor, r, rounded.data());
      double error = 0, all = 0;
      for (int i = 0; i < 256; ++i) {
        error += std::pow(values[i] - rounded[i], 2);
        all += values[i] * values[i];
      }
      // Other weights would leave more than all of the square. Ternary grids keep little of it.
      ASSERT_LT(error, (grid->bits_per_weight() < 3 ? 0.8 : 0.1) * all) << name << " row " << r;
    }
    ++grids;
  }
  EXPECT_GE(grids, 15);
}

// Logits that are independent and standard normal have a perplexity of e^(1/2) times the
// vocabulary.
TEST_F(RandomModelTest, KnowsNothing) {
  ASSERT_EQ(Make("m", "--layers 4"), 0);
  std::minstd_rand random(1);
  std::string text;
  while (text.size() < 3000) text += static_cast<char>('!' + random() % 94);
  EvaluateOptions options;
  options.context = 256;
  const double perplexity =
      Evaluate(Path("m"), folder_.Write("text", text).string(), options).perplexity.value;
  EXPECT_GT(perplexity, 512 * std::exp(0.5) / 1.5);
  EXPECT_LT(perplexity, 512 * std::exp(0.5) * 1.5);
}

TEST_F(RandomModelTest, RefusesWhatItCannotWrite) {
  EXPECT_EQ(Make("m", "--grid q4_k --hidden 96"), 2);
  EXPECT_EQ(Make("m", "--grid iq2_xxs"), 2);
  EXPECT_EQ(Make("m", "--shape giant"), 2);
  EXPECT_EQ(Make("m", "--layers x"), 2);
  EXPECT_EQ(Make("m", "--layers"), 2);
  EXPECT_EQ(Make("m", "--heads 4 --kv-heads 3"), 2);
  EXPECT_FALSE(std::filesystem::exists(Path("m")));
}

}  // namespace
}  // namespace halftone
