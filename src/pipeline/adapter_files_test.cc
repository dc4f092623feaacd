// Adapters against peft's and llama.cpp's own (fixtures tiny-lora-adapter, tiny-lora-gguf): logits,
// merged weights, and both formats there and back.

#include "pipeline/adapter_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "container/safetensors_file.h"
#include "halftone/evaluate.h"
#include "halftone/quantize.h"
#include "pipeline/merged_rows.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/largest.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPeft = "fixtures/tiny-lora-adapter";
constexpr const char* kGguf = "fixtures/tiny-lora-gguf/adapter.gguf";

std::vector<float> FloatsOf(const SafetensorsFile& file, const std::string& name) {
  for (const SafetensorsTensor& tensor : file.tensors) {
    if (tensor.name != name) continue;
    const auto* data = reinterpret_cast<const float*>(tensor.data.data());
    return {data, data + tensor.data.size() / 4};
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

std::vector<int32_t> IdsOf(const SafetensorsFile& file) {
  for (const SafetensorsTensor& tensor : file.tensors) {
    if (tensor.name != "input_ids") continue;
    const auto* data = reinterpret_cast<const int64_t*>(tensor.data.data());
    return {data, data + tensor.data.size() / 8};
  }
  ADD_FAILURE() << "no input_ids";
  return {};
}

double RootMeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

class AdapterFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    HALFTONE_NEED_SHARED(kPeft);
    HALFTONE_NEED_SHARED(kGguf);
    base_ = TinyBf16Folder();
    adapter_ = SharedPath(kPeft);
    expected_ = ReadSafetensors(SharedPath(kPeft) / "expected.safetensors");
    tokens_ = IdsOf(expected_);
  }

  std::vector<float> Logits(const std::string& model, const std::string& adapter) const {
    int64_t vocabulary = 0;
    return EvaluateLogits(model, tokens_, 2, &vocabulary, {}, "f32", adapter);
  }
  std::string Out(const char* name) const { return out_.path() / name; }
  std::string AsGguf() const {
    const std::string file = Out("base.gguf");
    if (!fs::exists(file)) Convert(base_, file, {});
    return file;
  }
  LoadedModel Load(const std::string& path) const {
    return {OpenCheckpoint(path), std::shared_ptr<Ops>(MakeCpuOps(1))};
  }

  std::string base_, adapter_;
  SafetensorsFile expected_;
  std::vector<int32_t> tokens_;
  TempFolder out_;
};

TEST_F(AdapterFilesTest, GivesPeftsLogitsInEitherDialect) {
  const auto expected = FloatsOf(expected_, "logits");
  const auto [low, high] = std::ranges::minmax(expected);
  EXPECT_LT(Largest(Logits(base_, adapter_), expected), 1e-5 * (high - low));
  EXPECT_LT(Largest(Logits(AsGguf(), adapter_), expected), 1e-5 * (high - low));
  // Without the adapter they are others.
  EXPECT_GT(Largest(Logits(base_, ""), expected), 0.1 * (high - low));
}

TEST_F(AdapterFilesTest, ReadsLlamaCppsAdapterInEitherDialect) {
  const auto expected = FloatsOf(expected_, "logits");
  const std::string gguf = SharedPath(kGguf);
  const auto [low, high] = std::ranges::minmax(expected);
  // Its matrices may be in f16.
  EXPECT_LT(Largest(Logits(base_, gguf), expected), 2e-3 * (high - low));
  EXPECT_LT(Largest(Logits(AsGguf(), gguf), expected), 2e-3 * (high - low));
}

TEST_F(AdapterFilesTest, MergesAsPeftDoes) {
  const Checkpoint merged = WithAdapter(OpenCheckpoint(base_), adapter_);
  int compared = 0;
  for (const SafetensorsTensor& rows : expected_.tensors) {
    if (!rows.name.ends_with(".rows")) continue;
    const Tensor& tensor = merged.Get(rows.name.substr(0, rows.name.size() - 5));
    const Tensor loaded = Loaded(tensor);
    const int64_t out = tensor.rows(), cols = tensor.cols();
    const std::vector<float> peft = FloatsOf(expected_, rows.name);
    const int64_t places[] = {0, 1, out / 2, out - 1};
    for (int i = 0; i < 4; ++i) {
      std::vector<float> row(static_cast<size_t>(cols));
      DecodeRow(loaded, places[i], row.data());
      EXPECT_LT(Largest(row, {peft.begin() + i * cols, peft.begin() + (i + 1) * cols}), 1e-6)
          << rows.name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 14 * 4);
}

TEST_F(AdapterFilesTest, QuantizeWritesTheMergedModel) {
  QuantizeOptions options;
  options.grid = "f32";
  options.adapter = adapter_;
  const auto expected = FloatsOf(expected_, "logits");
  const auto [low, high] = std::ranges::minmax(expected);
  for (const std::string& model : {base_, AsGguf()}) {
    const std::string file = Out("merged.gguf");
    Quantize(model, file, options);
    EXPECT_LT(Largest(Logits(file, ""), expected), 1e-5 * (high - low)) << model;
  }
}

// peft's adapter with its A shared in groups goes into the offsets of a file's own grids; beside it
// stands the sum in f32 that MergesAsPeftDoes holds against peft.
TEST_F(AdapterFilesTest, SharedInGroupsItKeepsCodes) {
  for (const std::string grid : {"q4_1", "q5_1", "q4_k_m"}) {
    QuantizeOptions options;
    options.grid = grid;
    const std::string base = Out("base-on-grid.gguf"), shared = Out("shared.gguf");
    Quantize(base_, base, options);
    LoadedModel loaded = Load(base);
    Adapter adapter = LoadAdapter(adapter_, loaded);
    // About as large as after a short training.
    for (AdapterPart& part : adapter.parts) part.scale *= 0.05f;
    const int64_t parts = ShareInGroups(loaded, adapter);
    EXPECT_GT(parts, 0);
    WriteGgufAdapter(shared, ModulesOf(loaded, adapter), *loaded.weights.architecture,
                     loaded.weights.parameters, "shared");
    const MergedInPlace merged = WithAdapterInPlace(OpenCheckpoint(base), shared);
    const Checkpoint sums = WithAdapter(OpenCheckpoint(base), shared);
    EXPECT_EQ(merged.moved, parts);
    EXPECT_EQ(merged.moved + std::ssize(merged.to_round), 14);
    for (const Tensor& tensor : merged.checkpoint.tensors) {
      if (tensor.source == nullptr || merged.to_round.contains(tensor.name)) continue;
      EXPECT_EQ(tensor.grid, loaded.checkpoint.Get(tensor.name).grid);
      const std::vector<float> moved = Decode(Loaded(tensor)),
                               sum = Decode(Loaded(sums.Get(tensor.name))),
                               was = Decode(loaded.checkpoint.Get(tensor.name));
      std::vector<uint8_t> rounded(tensor.bytes());
      for (int64_t r = 0; r < tensor.rows(); ++r) {
        tensor.grid->Encode(&sum[static_cast<size_t>(r * tensor.cols())], tensor.cols(), nullptr,
                            rounded.data() + static_cast<uint64_t>(r) * tensor.row_bytes());
      }
      Tensor again = tensor;
      again.source = nullptr;
      again.data = rounded;
      EXPECT_GT(Largest(sum, was), 1e-4) << tensor.name;
      const double off = RootMeanSquare(moved, sum);
      EXPECT_LE(off, 1.01 * RootMeanSquare(Decode(again), sum)) << grid << " " << tensor.name;
      // f16 keeps 11 bits of an offset, and none is larger than the largest weight.
      if (tensor.grid->scalar->shift != ShiftKind::kOwn) continue;
      EXPECT_LE(off, std::ldexp(Largest(sum, std::vector<float>(sum.size())), -11));
    }
  }
}

TEST_F(AdapterFilesTest, NotSharedItIsRoundedAnew) {
  QuantizeOptions options;
  options.grid = "q4_1";
  const std::string base = Out("base-on-grid.gguf");
  Quantize(base_, base, options);
  const MergedInPlace merged = WithAdapterInPlace(OpenCheckpoint(base), adapter_);
  EXPECT_EQ(merged.moved, 0);
  EXPECT_EQ(merged.to_round.size(), 14u);
  for (const auto& [name, grid] : merged.to_round) {
    EXPECT_EQ(grid->name, "q4_1");
    EXPECT_EQ(merged.checkpoint.Get(name).grid->name, "f32");
  }
  ExpectError(Error::Kind::kUsage, "an adapter goes into", [&] {
    options.grid = "same";
    Quantize(base, Out("copy.gguf"), options);
  });
}

TEST_F(AdapterFilesTest, BothFormatsGoThereAndBack) {
  for (const std::string& model : {base_, AsGguf()}) {
    LoadedModel loaded = Load(model);
    const Adapter adapter = LoadAdapter(adapter_, loaded);
    const auto modules = ModulesOf(loaded, adapter);
    const std::string folder = Out("peft"), file = Out("adapter.gguf");
    fs::remove_all(folder);
    WritePeftAdapter(folder, modules, "base");
    WriteGgufAdapter(file, modules, *loaded.weights.architecture, loaded.weights.parameters, "a");
    const auto logits = Logits(model, adapter_);
    EXPECT_EQ(Logits(model, folder), logits);
    EXPECT_EQ(Logits(model, file), logits);
  }
}

// ---- What cannot be read ----

class BrokenAdapterTest : public AdapterFilesTest {
 protected:
  // A copy of the adapter whose config has one thing replaced by another.
  std::string With(const std::string& from, const std::string& to) const {
    const fs::path folder = Out("broken");
    fs::remove_all(folder);
    fs::create_directories(folder);
    fs::copy(fs::path(adapter_) / "adapter_model.safetensors", folder);
    std::string config = ReadTextFile(fs::path(adapter_) / "adapter_config.json");
    const size_t at = config.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    WriteFile(folder / "adapter_config.json", config.replace(at, from.size(), to));
    return folder;
  }
  void Refuses(const std::string& adapter, Error::Kind kind, const std::string& part) const {
    ExpectError(kind, part, [&] { Logits(base_, adapter); });
  }
};

TEST_F(BrokenAdapterTest, SaysWhatItIs) {
  using Kind = Error::Kind;
  Refuses(With("\"use_dora\": false", "\"use_dora\": true"), Kind::kUnsupported, "DoRA");
  Refuses(With("\"LORA\"", "\"IA3\""), Kind::kUnsupported, "IA3");
  Refuses(With("\"bias\": \"none\"", "\"bias\": \"all\""), Kind::kUnsupported, "biases");
  Refuses(With("\"r\": 8", "\"r\": 4"), Kind::kFormat, "says rank 4");
  Refuses(With("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]"),
          Kind::kUnsupported, "trained whole");
  Refuses(With("{", "["), Kind::kFormat, "not valid JSON");
  Refuses(Out("nowhere"), Kind::kIo, "nowhere");
}

TEST_F(BrokenAdapterTest, KnowsPatternsAndRootScaling) {
  const auto plain = Logits(base_, adapter_);
  // Every module has a pattern that says what holds for it anyway.
  EXPECT_EQ(Logits(base_, With("\"rank_pattern\": {}", "\"rank_pattern\": {\".*_proj\": 8}")),
            plain);
  // 16 / sqrt(8) = 8 * sqrt(1/2) * ... : twice the root of two more than 16 / 8.
  const auto rooted = Logits(base_, With("\"use_rslora\": false", "\"use_rslora\": true"));
  const auto scaled =
      Logits(base_, With("\"lora_alpha\": 16", "\"lora_alpha\": 45.254833995939045"));
  EXPECT_LT(Largest(rooted, scaled), 1e-4);
  EXPECT_GT(Largest(rooted, plain), 1e-2);
}

TEST_F(BrokenAdapterTest, IsNotForAnotherModel) {
  const std::string other = SourcePath("tests/golden/architectures/llama");
  int64_t vocabulary = 0;
  ExpectError(Error::Kind::kFormat, "another model's adapter", [&] {
    EvaluateLogits(other, {1, 2}, 1, &vocabulary, {}, "f32", adapter_);
  });
  ExpectError(Error::Kind::kFormat, "another model's adapter",
              [&] { WithAdapter(OpenCheckpoint(other), adapter_); });
  ExpectError(Error::Kind::kFormat, "is no LoRA adapter for llama",
              [&] { Logits(base_, AsGguf()); });
}

}  // namespace
}  // namespace halftone
