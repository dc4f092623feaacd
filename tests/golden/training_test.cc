// Training against peft and torch: training/ holds adapters for the small models of architectures/,
// made by make_gradients.py, the loss and its derivatives that torch computes, and the losses of
// some steps of its AdamW.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "container/container.h"
#include "container/safetensors_file.h"
#include "halftone/quantize.h"
#include "model/text_model.h"
#include "pipeline/adapter_files.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "training/trainer.h"
#include "training/training_pass.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

fs::path Golden() { return SourcePath("tests/golden"); }

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(Golden() / "training")) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

// As make_gradients.py has them.
std::vector<TrainingExample> Examples(int64_t vocabulary) {
  std::vector<TrainingExample> examples;
  for (const auto& [length, skipped] : {std::pair<int64_t, int64_t>{40, 5}, {9, 0}}) {
    TrainingExample example;
    for (int64_t i = 0; i < length; ++i) {
      example.tokens.push_back(static_cast<int32_t>((7 * i * i + 3 * i + length) % vocabulary));
      example.scored.push_back(i > skipped);
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

TrainingBatch Sequences(int64_t vocabulary) {
  TrainingBatch batch;
  for (const TrainingExample& example : Examples(vocabulary)) AddTo(example, batch);
  return batch;
}

LoadedModel Load(const fs::path& path) {
  return {TextModelOf(OpenCheckpoint(path)),
          std::shared_ptr<Ops>(MakeCpuOps(2, Activations::kF32))};
}

// By the names that peft has.
using Values = std::map<std::string, std::vector<float>>;

// The derivatives of one expert's matrix as part of those that transformers 5 has of all of them.
void AddExpert(const AdapterModule& module, int64_t experts, Values& named) {
  const auto [role, layer, bias, expert] = module.place;
  const bool down = role->role == Role::kExpertDown;
  const std::string name = "base_model.model.model.layers." + std::to_string(layer) +
                           ".mlp.experts" + (down ? "" : ".base_layer");
  const int64_t rank = module.rank, rows = module.rows(), cols = module.cols();
  std::vector<float>& a = named[name + ".lora_A.weight"];
  std::vector<float>& b = named[name + ".lora_B.weight"];
  a.resize(static_cast<size_t>(experts * rank * cols));
  b.resize(static_cast<size_t>((down ? 1 : 2) * rows * rank * experts));
  for (int64_t i = 0; i < rank * cols; ++i) a[expert * rank * cols + i] += module.a[i];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = role->role == Role::kExpertUp ? rows + r : r;
    for (int64_t k = 0; k < rank; ++k) {
      b[(row * rank + k) * experts + expert] = module.b[r * rank + k];
    }
  }
}

// The derivatives of a fused layer's A are the sum of its parts'.
Values ByName(const LoadedModel& model, Adapter adapter, const std::vector<float>& gradients,
              bool one_parameter) {
  Values named;
  for (const AdapterModule& module :
       ModulesOf(model, {adapter.parts, std::make_shared<std::vector<float>>(gradients)})) {
    if (one_parameter && module.place.expert >= 0) {
      AddExpert(module, model.weights.parameters.experts, named);
      continue;
    }
    std::string name = "base_model.model." + NameInDialect(Dialect::kHuggingFace, module.place);
    name.resize(name.size() - 6);  // "weight"
    if (one_parameter && module.place.role->role == Role::kRouter) {
      name = "base_model.model.model.layers." + std::to_string(module.place.layer) + ".mlp.gate.";
    }
    int64_t rank = 0;
    for (const AdapterPart& part : adapter.parts) {
      if (part.name == NameInDialect(Dialect::kGguf, module.place)) rank = part.rank;
    }
    const int64_t cols = module.cols(), parts = module.rank / rank;
    std::vector<float>& a = named[name + "lora_A.weight"];
    std::vector<float>& b = named[name + "lora_B.weight"];
    a.resize(static_cast<size_t>(rank * cols));
    b.resize(static_cast<size_t>(rank * module.rows()));
    for (int64_t k = 0; k < module.rank; ++k) {
      for (int64_t i = 0; i < cols; ++i) a[k % rank * cols + i] += module.a[k * cols + i];
      for (int64_t r = 0; r < module.rows(); ++r) {
        b[r * rank + k % rank] += module.b[r * module.rank + k];
      }
    }
    EXPECT_GE(parts, 1);
  }
  return named;
}

class TrainingGoldenTest : public testing::TestWithParam<std::string> {
 protected:
  fs::path Folder() const { return Golden() / "training" / GetParam(); }
  // A name with "-4" is a mixture's whose experts have pairs of their own, as in transformers 4.
  static bool OfFour() { return GetParam().ends_with("-4"); }
  static Dropout Left() {
    return GetParam().ends_with("-dropout") ? Dropout{0.25f, 77} : Dropout{};
  }
  static fs::path Model() {
    std::string name = GetParam();
    if (OfFour() || Left().rate > 0) name.resize(name.rfind('-'));
    return Golden() / "architectures" / name;
  }

  // Loss and derivatives as the folder's adapter gives them on the model at `path`.
  void Check(const fs::path& path, bool remember) {
    SCOPED_TRACE(path.string());
    const SafetensorsFile expected = ReadSafetensors(Folder() / "step.safetensors");
    LoadedModel model = Load(path);
    const Adapter adapter = LoadAdapter(Folder(), model);
    const TrainingBatch batch = Sequences(model.weights.parameters.vocabulary);
    TrainingPass pass(model.weights, model.ops, {64, 40, remember});
    std::vector<float> gradients(adapter.values->size());
    const auto scored = static_cast<double>(batch.scored());
    const double loss =
        pass.LossAndGradients(batch, static_cast<float>(1 / scored),
                              GradientsOf(adapter, model.weights, gradients), Left());
    EXPECT_NEAR(loss / scored, std::stod(expected.metadata.at("loss")), 1e-4);
    if (Left().rate == 0) {
      EXPECT_NEAR(pass.Loss(batch), loss, 1e-9 * loss);
    }

    const Values actual = ByName(model, adapter, gradients, !OfFour());
    EXPECT_EQ(actual.size(), expected.tensors.size());
    for (const SafetensorsTensor& tensor : expected.tensors) {
      ASSERT_TRUE(actual.contains(tensor.name)) << tensor.name;
      const std::vector<float>& values = actual.at(tensor.name);
      ASSERT_EQ(values.size() * 4, tensor.data.size()) << tensor.name;
      const auto* torch = reinterpret_cast<const float*>(tensor.data.data());
      double difference = 0, norm = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        difference += std::pow(static_cast<double>(values[i]) - torch[i], 2);
        norm += std::pow(static_cast<double>(torch[i]), 2);
      }
      worst_ = std::max(worst_, std::sqrt(difference / norm));
      EXPECT_LT(std::sqrt(difference / norm), 1e-4) << tensor.name;
    }
  }

  double worst_ = 0;
  TempFolder out_;
};

TEST_P(TrainingGoldenTest, OneStepIsTorchs) {
  const fs::path model = Model();
  Check(model, false);
  Check(model, true);
  // The same model as GGUF has it, whose rows lie in another order.
  const std::string gguf = out_.path() / "model.gguf";
  Convert(model, gguf, {});
  Check(gguf, false);
  RecordProperty("worst", std::to_string(worst_));
}

TEST_P(TrainingGoldenTest, StepsAreTorchs) {
  const SafetensorsFile expected = ReadSafetensors(Folder() / "step.safetensors");
  if (!expected.metadata.contains("losses")) GTEST_SKIP() << "one step is all that it holds";
  std::istringstream losses(expected.metadata.at("losses"));
  auto model = std::make_shared<LoadedModel>(Load(Model()));
  Adapter adapter = LoadAdapter(Folder(), *model);
  const bool fused = !OfFour() && std::ranges::any_of(adapter.parts, [](const AdapterPart& part) {
    return part.first_row > 0;
  });
  TrainerOptions options;
  options.batch = 2;
  options.steps = 5;
  options.learning_rate = 0.02;
  options.warmup = 0.4;
  options.beta2 = 0.99f;
  options.weight_decay = 0.1f;
  options.clip = 0.5f;
  Trainer trainer(model, adapter, Examples(model->weights.parameters.vocabulary), options);
  double loss = 0;
  for (int step = 0; losses >> loss; ++step) {
    SCOPED_TRACE(step);
    EXPECT_NEAR(trainer.Step().loss, loss, 2e-3);
    // The parts of a fused layer each have an A of their own from the first step on.
    if (fused) break;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingGoldenTest, testing::ValuesIn(Names()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace halftone
