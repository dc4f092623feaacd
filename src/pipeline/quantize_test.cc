#include "halftone/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/mapped_file.h"
#include "calibration/imatrix_file.h"
#include "container/container.h"
#include "engine/session.h"
#include "halftone/error.h"
#include "halftone/evaluate.h"
#include "model/dialect.h"
#include "pipeline/presets.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

class QuantizeTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::path(testing::TempDir()) /
           (std::string("quantize_test_") +
            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string Out(const std::string& name) const { return (dir_ / name).string(); }

  int64_t Files() const {
    return std::distance(fs::directory_iterator(dir_), fs::directory_iterator());
  }

  // A small llama in the GGUF dialect, given by its matrices' values.
  std::string WriteModel(const std::string& name, float poison = 0) const {
    CheckpointPlan plan;
    plan.metadata.Set("general.architecture", Value(std::string("llama")));
    for (const auto& [key, value] : std::map<std::string, uint32_t>{{"context_length", 64},
                                                                    {"embedding_length", 64},
                                                                    {"block_count", 1},
                                                                    {"feed_forward_length", 96},
                                                                    {"attention.head_count", 2}}) {
      plan.metadata.Set("llama." + key, Value(value));
    }
    plan.metadata.Set("llama.attention.layer_norm_rms_epsilon", Value(1e-5f));
    plan.metadata.Set("tokenizer.ggml.model", Value(std::string("none")));
    const auto add = [&](const std::string& tensor, std::vector<int64_t> shape) {
      plan.tensors.push_back({tensor + ".weight", &F32Grid(), std::move(shape)});
    };
    add("output_norm", {64});
    add("token_embd", {32, 64});
    for (const char* norm : {"attn_norm", "ffn_norm"}) add(std::string("blk.0.") + norm, {64});
    for (const char* square : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      add(std::string("blk.0.") + square, {64, 64});
    }
    add("blk.0.ffn_gate", {96, 64});
    add("blk.0.ffn_up", {96, 64});
    add("blk.0.ffn_down", {64, 96});
    const std::string path = Out(name);
    const auto writer = ContainerNamed("gguf").create(path, plan);
    for (const TensorPlan& tensor : plan.tensors) {
      std::vector<float> values(tensor.bytes() / 4);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = std::sin(static_cast<float>(i) * 0.37f) * 0.1f;
      }
      if (poison != 0 && tensor.name == "blk.0.ffn_up.weight") values[64 * 5 + 7] = poison;
      writer->Append(std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4));
    }
    writer->Commit();
    return path;
  }

  fs::path dir_;
};

QuantizeOptions Grid(const std::string& name) {
  QuantizeOptions options;
  options.grid = name;
  return options;
}

// What the call throws, or "".
template <class Call>
std::string ErrorOf(Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::string FirstGguf(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") return entry.path();
  }
  return "";
}

// convert_hf_to_gguf.py and llama-quantize --imatrix made the expected file from the same folder.
TEST_F(QuantizeTest, TensorsEqualThoseOfLlamaQuantize) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix");
  QuantizeOptions options = Grid("q4_k_m");
  options.imatrix = SharedPath("fixtures/imatrix/model.imatrix.gguf");
  Quantize(TinyBf16Folder().string(), Out("ours.gguf"), options);
  const Checkpoint ours = OpenCheckpoint(Out("ours.gguf"));
  const Checkpoint theirs =
      OpenCheckpoint(FirstGguf(SharedPath("fixtures/tiny-gguf-Q4_K_M-imatrix")));
  ASSERT_EQ(ours.tensors.size(), theirs.tensors.size());
  for (size_t i = 0; i < ours.tensors.size(); ++i) {
    const Tensor& a = ours.tensors[i];
    const Tensor& b = theirs.tensors[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.grid->title, b.grid->title) << a.name;
    EXPECT_EQ(a.shape, b.shape) << a.name;
    ASSERT_EQ(a.data.size(), b.data.size()) << a.name;
    EXPECT_EQ(std::memcmp(a.data.data(), b.data.data(), a.data.size()), 0) << a.name;
  }
}

TEST_F(QuantizeTest, PlansAreExactForEveryPreset) {
  const std::string model = WriteModel("model.gguf");
  int written = 0;
  for (const Preset& preset : AllPresets()) {
    const QuantizeOptions options = Grid(std::string(preset.name));
    const std::string out = Out(std::string(preset.name) + ".gguf");
    if (!ErrorOf([&] { PlanQuantize(model, options); }).empty()) {
      // What cannot be planned cannot be made, and leaves nothing.
      EXPECT_NE(ErrorOf([&] { Quantize(model, out, options); }), "") << preset.name;
      EXPECT_FALSE(fs::exists(out));
      continue;
    }
    const QuantizeReport plan = PlanQuantize(model, options);
    const QuantizeReport made = Quantize(model, out, options);
    EXPECT_EQ(plan.file_bytes, fs::file_size(out)) << preset.name;
    EXPECT_EQ(made.file_bytes, fs::file_size(out)) << preset.name;
    EXPECT_EQ(plan.tensors.size(), made.tensors.size());
    ++written;
  }
  EXPECT_GT(written, 15);
}

TEST_F(QuantizeTest, BytesDoNotDependOnThreads) {
  const std::string model = WriteModel("model.gguf");
  QuantizeOptions options = Grid("q5_1");
  options.threads = 1;
  Quantize(model, Out("one.gguf"), options);
  options.threads = 3;
  Quantize(model, Out("three.gguf"), options);
  EXPECT_EQ(ReadTextFile(Out("one.gguf")), ReadTextFile(Out("three.gguf")));
}

TEST_F(QuantizeTest, RefusesWithoutLeavingAnything) {
  const std::string model = WriteModel("model.gguf");
  const auto quantize = [&](const std::string& grid, const std::string& out) {
    return ErrorOf([&] { Quantize(model, out, Grid(grid)); });
  };
  EXPECT_NE(quantize("q4_0", model).find("the output is the input"), std::string::npos);
  fs::create_symlink(model, dir_ / "link.gguf");
  EXPECT_NE(quantize("q4_0", Out("link.gguf")).find("the output is the input"), std::string::npos);
  EXPECT_NE(quantize("q4_00", Out("x.gguf")).find("did you mean 'q4_0'"), std::string::npos);
  EXPECT_NE(quantize("q4_0", Out("missing/x.gguf")).find("missing/x.gguf"), std::string::npos);
  QuantizeOptions options = Grid("q4_0");
  options.method = "imatrix";
  EXPECT_NE(ErrorOf([&] { Quantize(model, Out("x.gguf"), options); }).find("--imatrix"),
            std::string::npos);
  options.imatrix = Out("nothing.imatrix");
  EXPECT_NE(ErrorOf([&] { Quantize(model, Out("x.gguf"), options); }).find("nothing.imatrix"),
            std::string::npos);
  EXPECT_EQ(Files(), 2);
}

TEST_F(QuantizeTest, NamesTheTensorThatIsNotFinite) {
  for (const float poison : {std::nanf(""), INFINITY}) {
    const std::string model = WriteModel("poisoned.gguf", poison);
    const std::string error = ErrorOf([&] { Quantize(model, Out("x.gguf"), Grid("q8_0")); });
    EXPECT_NE(error.find("poisoned.gguf: tensor 'blk.0.ffn_up.weight' is not finite in row 5"),
              std::string::npos)
        << error;
    EXPECT_EQ(Files(), 1);
    EXPECT_NE(ErrorOf([&] {
                int64_t vocabulary;
                EvaluateLogits(model, {1, 2}, 1, &vocabulary);
              }).find("blk.0.ffn_up.weight"),
              std::string::npos);
  }
}

TEST_F(QuantizeTest, ConvertedFolderDecodesAndRunsLikeIt) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  const std::string folder = TinyBf16Folder().string();
  Convert(folder, Out("model.gguf"), {});
  const Checkpoint source = OpenCheckpoint(folder);
  const Checkpoint made = OpenCheckpoint(Out("model.gguf"));
  const Architecture& architecture = ArchitectureOf(source);
  EXPECT_EQ(made.tensors.size(), source.tensors.size());
  for (const Tensor& tensor : source.tensors) {
    const auto place = PlaceOf(architecture, Dialect::kHuggingFace, tensor.name);
    ASSERT_TRUE(place) << tensor.name;
    const Tensor& twin = made.Get(NameInDialect(Dialect::kGguf, *place));
    std::vector<float> a = Decode(tensor), b = Decode(twin);
    if (place->role->order == RowOrder::kSame) {
      EXPECT_EQ(a, b) << tensor.name;
    } else {
      EXPECT_NE(a, b) << tensor.name;
      std::ranges::sort(a);
      std::ranges::sort(b);
      EXPECT_EQ(a, b) << tensor.name;
    }
  }
  int64_t vocabulary;
  const std::vector<int32_t> ids = {3, 77, 140, 9, 501};
  const auto a = EvaluateLogits(folder, ids, 2, &vocabulary);
  const auto b = EvaluateLogits(Out("model.gguf"), ids, 2, &vocabulary);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-4) << i;
}

TEST_F(QuantizeTest, EvaluatingAModelAgainstItselfFindsNoDifference) {
  HALFTONE_NEED_SHARED("models/ref-75m");
  EvaluateOptions options;
  options.context = 64;
  options.chunks = 2;
  options.reference = SharedPath("models/ref-75m");
  const EvaluateReport report =
      Evaluate(options.reference, SharedPath("text/evaluation.txt"), options);
  EXPECT_EQ(report.tokens, 2 * 31);
  EXPECT_EQ(report.same_top1.value, 1);
  EXPECT_LT(report.kld_max, 1e-9);
  EXPECT_EQ(report.perplexity.value, report.reference_perplexity.value);
}

// Experts that calibration has not touched are rounded as if every column counted alike, which is
// what llama-quantize does with their zero counts, and named.
TEST_F(QuantizeTest, NamesExpertsThatSawNoTokens) {
  CheckpointPlan plan;
  plan.metadata.Set("general.architecture", Value(std::string("qwen3moe")));
  plan.metadata.Set("qwen3moe.block_count", Value(uint32_t{1}));
  plan.metadata.Set("qwen3moe.expert_count", Value(uint32_t{3}));
  plan.tensors.push_back({"blk.0.ffn_up_exps.weight", &F32Grid(), {3, 16, 256}});
  const auto writer = ContainerNamed("gguf").create(Out("experts.gguf"), plan);
  std::vector<float> values(3 * 16 * 256);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i % 4096) * 0.37f) * 0.1f;  // each expert the same
  }
  writer->Append(std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4));
  writer->Commit();
  ImportanceMatrix matrix;
  ImportanceEntry& entry = matrix.entries["blk.0.ffn_up_exps.weight"];
  entry.counts = {8, 0, 8};
  for (int i = 0; i < 3 * 256; ++i) {
    entry.sum_squares.push_back(i / 256 == 1 ? 0.0f : i / 256 == 0 ? 8.0f : 1.0f + i % 7);
  }
  WriteImportanceMatrix(matrix, Out("i.gguf"));

  QuantizeOptions options;
  options.grid = "q3_k_s";
  options.imatrix = Out("i.gguf");
  const QuantizeReport report = Quantize(Out("experts.gguf"), Out("o.gguf"), options);
  EXPECT_NE(report.tensors[0].note.find("no token met expert 1"), std::string::npos)
      << report.tensors[0].note;
  const Checkpoint checkpoint = OpenCheckpoint(Out("o.gguf"));
  const auto data = checkpoint.tensors[0].data;
  const auto expert = [&](size_t i) { return data.subspan(i * data.size() / 3, data.size() / 3); };
  // Expert 0's importances are ones, and its weights those of expert 1.
  EXPECT_TRUE(std::ranges::equal(expert(0), expert(1)));
  EXPECT_FALSE(std::ranges::equal(expert(0), expert(2)));
}

}  // namespace
}  // namespace halftone
