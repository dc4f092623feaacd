// Adapters of mixtures: those that peft saved, of tests/golden/training, whose loss
// tests/golden/training_test.cc compares, there and back in every form, merged, and broken.

#include "pipeline/expert_adapters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "container/gguf_reader.h"
#include "container/gguf_writer.h"
#include "container/safetensors_file.h"
#include "halftone/evaluate.h"
#include "halftone/quantize.h"
#include "pipeline/merged_rows.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/largest.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

std::string Golden(const std::string& name) { return SourcePath("tests/golden/") + name; }

// By the adapter's folder; "-4" is of transformers 4.
class ExpertAdaptersTest : public testing::TestWithParam<std::string> {
 protected:
  static std::string Peft() { return Golden("training/" + GetParam()); }
  static std::string Base() {
    const std::string name = GetParam();
    return Golden("architectures/" + name.substr(0, name.size() - (name.ends_with("-4") ? 2 : 0)));
  }
  std::string AsGguf() const {
    const std::string file = Out("base.gguf");
    if (!fs::exists(file)) Convert(Base(), file, {});
    return file;
  }
  std::vector<float> Logits(const std::string& model, const std::string& adapter) const {
    int64_t vocabulary = 0;
    return EvaluateLogits(model, {1, 5, 90, 17, 33, 2, 61, 8}, 2, &vocabulary, {}, "f32", adapter);
  }
  std::string Out(const std::string& name) const { return out_.path() / name; }

  TempFolder out_;
};

TEST_P(ExpertAdaptersTest, GoThereAndBackInBothFormats) {
  for (const std::string& model : {Base(), AsGguf()}) {
    LoadedModel loaded{OpenCheckpoint(model), std::shared_ptr<Ops>(MakeCpuOps(1))};
    const Adapter adapter = LoadAdapter(Peft(), loaded);
    const auto modules = ModulesOf(loaded, adapter);
    const std::string folder = Out("peft"), file = Out("adapter.gguf");
    fs::remove_all(folder);
    WritePeftAdapter(folder, modules, "base");
    WriteGgufAdapter(file, modules, *loaded.weights.architecture, loaded.weights.parameters, "a");
    const auto logits = Logits(model, Peft());
    EXPECT_GT(Largest(Logits(model, ""), logits), 0.1);
    EXPECT_EQ(Logits(model, folder), logits);
    EXPECT_EQ(Logits(model, file), logits);
  }
}

// llama.cpp's: [experts, rank, in] and [experts, out, rank].
TEST_P(ExpertAdaptersTest, AreStackedInGguf) {
  LoadedModel loaded{OpenCheckpoint(Base()), std::shared_ptr<Ops>(MakeCpuOps(1))};
  const Adapter adapter = LoadAdapter(Peft(), loaded);
  const Hyperparameters& p = loaded.weights.parameters;
  WriteGgufAdapter(Out("adapter.gguf"), ModulesOf(loaded, adapter), *loaded.weights.architecture, p,
                   "a");
  const Checkpoint file = ReadGguf(Out("adapter.gguf"));
  EXPECT_EQ(file.tensors.size(), 2u * 2 * (4 + 1 + 3));
  const int64_t rank = GetParam().ends_with("-4") ? 2 : 4, inner = p.expert.feed_forward;
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(file.Get("blk.1.ffn_gate_exps.weight.lora_a").shape, (Shape{p.experts, rank, p.width}));
  EXPECT_EQ(file.Get("blk.1.ffn_gate_exps.weight.lora_b").shape, (Shape{p.experts, inner, rank}));
  EXPECT_EQ(file.Get("blk.1.ffn_down_exps.weight.lora_a").shape, (Shape{p.experts, 2, inner}));
  EXPECT_EQ(file.Get("blk.1.ffn_down_exps.weight.lora_b").shape, (Shape{p.experts, p.width, 2}));
  EXPECT_EQ(file.Get("blk.1.ffn_gate_inp.weight.lora_b").shape, (Shape{p.experts, 2}));
}

TEST_P(ExpertAdaptersTest, MergedWeightsComputeTheSame) {
  QuantizeOptions options;
  options.grid = "f32";
  options.adapter = Peft();
  for (const std::string& model : {Base(), AsGguf()}) {
    const auto expected = Logits(model, Peft());
    const auto [low, high] = std::ranges::minmax(expected);
    for (const std::string container : {"gguf", "safetensors"}) {
      const std::string path = Out("merged-" + container);
      fs::remove_all(path);
      options.container = container;
      Quantize(model, path, options);
      EXPECT_LT(Largest(Logits(path, ""), expected), 1e-5 * (high - low)) << model << container;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExpertAdaptersTest,
                         testing::Values("mixtral", "mixtral-4", "qwen3moe", "qwen3moe-4",
                                         "qwen3moe-plain"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// ---- What cannot be read ----

class BrokenExpertAdapterTest : public testing::Test {
 protected:
  // The folder with one thing of a file replaced by another, which is as long.
  void Refuses(const std::string& name, const std::string& file, const std::string& from,
               const std::string& to, const std::string& part) const {
    SCOPED_TRACE(to);
    const fs::path folder = fs::path(out_.path()) / "broken";
    fs::remove_all(folder);
    fs::copy(Golden("training/" + name), folder);
    std::string text = ReadTextFile(folder / file);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    WriteFile(folder / file, text.replace(at, from.size(), to));
    RefusesFile(folder, part);
  }
  void RefusesFile(const std::string& adapter, const std::string& part) const {
    const Checkpoint base = OpenCheckpoint(Golden("architectures/mixtral"));
    ExpectError(Error::Kind::kFormat, part, [&] { WithAdapter(base, adapter); });
    ExpectError(Error::Kind::kFormat, part, [&] {
      LoadedModel model{base, std::shared_ptr<Ops>(MakeCpuOps(1))};
      LoadAdapter(adapter, model);
    });
  }

  TempFolder out_;
};

TEST_F(BrokenExpertAdapterTest, SaysWhatItIs) {
  const std::string config = "adapter_config.json", weights = "adapter_model.safetensors";
  Refuses("mixtral-4", weights, "experts.3.w1.lora_A", "experts.7.w1.lora_A",
          "has only one half of its pair");
  Refuses("mixtral-4", config, "\"r\": 2", "\"r\": 3", "says rank 3");
  Refuses("mixtral", config, "gate_up_proj\": 4", "gate_up_proj\": 8", "says rank 8");
  Refuses("mixtral", weights, "layers.0.mlp.experts.base_layer.lora_A",
          "layers.9.mlp.experts.base_layer.lora_A", "one half of its pair");
  Refuses("mixtral", weights, "[16,48]", "[48,16]", "do not go together");
  Refuses("mixtral", weights, "[16,48]", "[8, 96]", "do not go together");
  RefusesFile(Golden("training/qwen3moe-4"), "another model's adapter");
  // Of 8 experts.
  RefusesFile(Golden("training/qwen3moe"), "but its matrices have 4");
}

TEST_F(BrokenExpertAdapterTest, HasNoMoreExpertsThanTheModel) {
  const fs::path folder = fs::path(out_.path()) / "broken";
  fs::copy(Golden("training/mixtral-4"), folder);
  std::string text = ReadTextFile(folder / "adapter_model.safetensors");
  for (size_t at = 0; (at = text.find("experts.3.", at)) != std::string::npos; ++at) {
    text.replace(at, 10, "experts.4.");
  }
  WriteFile(folder / "adapter_model.safetensors", text);
  RefusesFile(folder, "of expert 4, but there are 4");
}

TEST_F(BrokenExpertAdapterTest, IsStackedInGguf) {
  using Shape = std::vector<int64_t>;
  for (const auto& [a, b] : {std::pair<Shape, Shape>{{2, 48}, {40, 2}},
                             {{4, 2, 48}, {40, 2}},
                             {{3, 2, 48}, {3, 40, 2}},
                             {{4, 2, 48}, {4, 40, 3}}}) {
    CheckpointPlan plan;
    plan.metadata.Set("general.architecture", std::string("llama"));
    plan.metadata.Set("general.type", std::string("adapter"));
    plan.metadata.Set("adapter.type", std::string("lora"));
    plan.metadata.Set("adapter.lora.alpha", 4.0f);
    plan.tensors.push_back({"blk.0.ffn_gate_exps.weight.lora_a", &F32Grid(), a});
    plan.tensors.push_back({"blk.0.ffn_gate_exps.weight.lora_b", &F32Grid(), b});
    const std::string file = out_.path() / "broken.gguf";
    const auto writer = CreateGguf(file, plan);
    for (const TensorPlan& tensor : plan.tensors) {
      int64_t count = 4;
      for (const int64_t size : tensor.shape) count *= size;
      writer->Append(std::vector<uint8_t>(static_cast<size_t>(count)));
    }
    writer->Commit();
    RefusesFile(file, "do not go together");
  }
}

// Whatever bytes a file has, it is read or refused.
TEST_F(BrokenExpertAdapterTest, SurvivesDamage) {
  const Checkpoint base = OpenCheckpoint(Golden("architectures/mixtral"));
  const Hyperparameters parameters = ReadHyperparameters(base, ArchitectureOf(base));
  const fs::path folder = fs::path(out_.path()) / "damaged", gguf = folder / "adapter.gguf";
  std::mt19937 random(1);
  for (const std::string name : {"mixtral", "mixtral-4"}) {
    fs::remove_all(folder);
    fs::copy(Golden("training/" + name), folder);
    WriteGgufAdapter(gguf, ReadAdapterModules(folder, ArchitectureOf(base), parameters),
                     ArchitectureOf(base), parameters, "a");
    for (const fs::path& file : {folder / "adapter_model.safetensors", gguf}) {
      const std::string adapter = file == gguf ? gguf : folder, whole = ReadTextFile(file);
      int read = 0, refused = 0;
      for (int i = 0; i < 300; ++i) {
        std::string text = whole;
        // What describes the tensors lies before their numbers.
        const size_t described = std::min<size_t>(text.size(), 8000);
        if (i % 3 == 0) text.resize(random() % text.size());
        for (int k = 0; k < 1 + i % 3 && i % 3 != 0; ++k) {
          char& byte = text[random() % described];
          byte = i % 2 == 0 ? static_cast<char>(random()) : static_cast<char>('0' + random() % 10);
        }
        WriteFile(file, text);
        try {
          const auto modules = ReadAdapterModules(adapter, ArchitectureOf(base), parameters);
          WithAdapter(base, adapter);
          LoadedModel model{base, std::shared_ptr<Ops>(MakeCpuOps(1))};
          AdapterFor(model, modules, adapter);
          ++read;
        } catch (const Error&) {
          ++refused;
        }
      }
      WriteFile(file, whole);
      EXPECT_GT(refused, 100) << file;
      EXPECT_EQ(read + refused, 300);
    }
  }
}

}  // namespace
}  // namespace halftone
