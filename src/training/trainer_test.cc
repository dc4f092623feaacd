// That training learns, repeats itself to the bit, resumes where it was, and stops before it breaks
// anything. tests/golden/training_test.cc compares its steps with torch's.

#include "training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "container/container.h"
#include "halftone/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using testing::HasSubstr;

std::shared_ptr<LoadedModel> TinyModel(int threads, const std::string& name = "llama") {
  return std::make_shared<LoadedModel>(
      OpenCheckpoint(HALFTONE_SOURCE_DIR "/tests/golden/architectures/" + name),
      std::shared_ptr<Ops>(MakeCpuOps(threads)));
}
// A dense one and mixtures.
constexpr const char* kModels[] = {"llama", "mixtral", "qwen3moe", "qwen3moe-plain"};

// Seven sequences that each count up by a step of their own.
std::vector<TrainingExample> Examples() {
  std::vector<TrainingExample> examples;
  for (int32_t step = 1; step <= 7; ++step) {
    TrainingExample example;
    for (int32_t i = 0; i < 6 + 3 * step; ++i) example.tokens.push_back((step * i) % 96);
    example.scored.assign(example.tokens.size(), 1);
    examples.push_back(std::move(example));
  }
  return examples;
}

TrainerOptions Options() {
  TrainerOptions options;
  options.batch = 3;
  options.steps = 12;
  options.learning_rate = 0.01;
  options.seed = 5;
  return options;
}

Trainer MakeTrainer(const TrainerOptions& options, int threads = 2,
                    const std::string& name = "llama") {
  auto model = TinyModel(threads, name);
  Adapter adapter = MakeAdapter(model->weights, {4, 8, {}, 1});
  Attach(adapter, model->weights, "test");
  return Trainer(model, adapter, Examples(), options);
}

std::vector<float> ValuesAfter(Trainer& trainer, int64_t steps) {
  while (trainer.finished() < steps) trainer.Step();
  return *trainer.adapter().values;
}

TEST(TrainerTest, LearnsItsExamples) {
  TrainerOptions options = Options();
  options.steps = 60;
  for (const std::string name : kModels) {
    for (const bool moments8 : {false, true}) {
      options.moments8 = moments8;
      Trainer trainer = MakeTrainer(options, 2, name);
      const double before = trainer.Evaluate(Examples());
      ValuesAfter(trainer, 60);
      EXPECT_LT(trainer.Evaluate(Examples()), before - 2) << name << " " << moments8;
    }
  }
}

TEST(TrainerTest, BeginsWithAnAdapterThatChangesNothing) {
  auto model = TinyModel(1);
  TrainingBatch batch;
  for (const TrainingExample& example : Examples()) AddTo(example, batch);
  TrainingPass pass(model->weights, model->ops, {256, 64});
  const double loss = pass.Loss(batch);
  const Adapter adapter = MakeAdapter(model->weights, {4, 8, {}, 1});
  Attach(adapter, model->weights, "test");
  EXPECT_EQ(pass.Loss(batch), loss);
}

TEST(TrainerTest, IsTheSameForAnyNumberOfThreads) {
  for (const std::string name : kModels) {
    for (const bool moments8 : {false, true}) {
      TrainerOptions options = Options();
      options.moments8 = moments8;
      Trainer one = MakeTrainer(options, 1, name), three = MakeTrainer(options, 3, name);
      EXPECT_TRUE(ValuesAfter(one, 5) == ValuesAfter(three, 5)) << name;
    }
  }
}

TEST(TrainerTest, ComputingAgainIsRemembering) {
  for (const std::string name : kModels) {
    TrainerOptions options = Options();
    Trainer again = MakeTrainer(options, 2, name);
    options.remember = true;
    Trainer remembering = MakeTrainer(options, 2, name);
    EXPECT_TRUE(ValuesAfter(again, 5) == ValuesAfter(remembering, 5)) << name;
  }
}

TEST(TrainerTest, ResumesToTheBit) {
  const TempFolder folder;
  const std::string state = folder.path() / "state";
  for (const bool moments8 : {false, true}) {
    TrainerOptions options = Options();
    options.moments8 = moments8;
    Trainer whole = MakeTrainer(options);
    ValuesAfter(whole, 4);
    whole.SaveState(state, "one", "notes");
    Trainer resumed = MakeTrainer(options);
    EXPECT_EQ(resumed.LoadState(state, "one"), "notes");
    EXPECT_EQ(resumed.finished(), 4);
    EXPECT_TRUE(ValuesAfter(whole, 12) == ValuesAfter(resumed, 12));
    ExpectError(Error::Kind::kUsage, "another model, data or options",
                [&] { resumed.LoadState(state, "another"); });
  }
}

TEST(TrainerTest, SeesEachExampleOnceInAnEpoch) {
  TrainerOptions options = Options();
  options.batch = 7;
  options.steps = 2;
  Trainer trainer = MakeTrainer(options);
  int64_t tokens = 0;
  for (const TrainingExample& example : Examples()) tokens += std::ssize(example.tokens);
  EXPECT_EQ(trainer.Step().tokens, tokens);
  EXPECT_EQ(trainer.Step().tokens, tokens);
}

TEST(TrainerTest, StopsBeforeAStepThatIsNoNumber) {
  TrainerOptions options = Options();
  options.learning_rate = 1e30;
  options.warmup = 0;
  Trainer trainer = MakeTrainer(options);
  std::vector<float> before;
  try {
    for (int step = 0; step < 10; ++step) {
      before = *trainer.adapter().values;
      trainer.Step();
    }
    FAIL() << "the loss stayed a number";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("training went astray"));
    EXPECT_THAT(error.what(), HasSubstr("step " + std::to_string(trainer.finished() + 1)));
  }
  EXPECT_TRUE(before == *trainer.adapter().values);
}

TEST(TrainerTest, WarmsUpAndFallsAlongACosine) {
  TrainerOptions options = Options();
  options.steps = 100;
  options.warmup = 0.1;
  const Trainer trainer = MakeTrainer(options);
  EXPECT_FLOAT_EQ(trainer.LearningRate(1), 0.001f);
  EXPECT_FLOAT_EQ(trainer.LearningRate(10), 0.01f);
  EXPECT_FLOAT_EQ(trainer.LearningRate(11), 0.01f);
  EXPECT_FLOAT_EQ(trainer.LearningRate(56), 0.005f);
  EXPECT_LT(trainer.LearningRate(100), 1e-5f);
}

TEST(AdapterTest, TargetsAreLayersOfTheModel) {
  const auto model = TinyModel(1);
  for (const char* name : {"q_proj", "attn_q"}) {
    const Adapter adapter = MakeAdapter(model->weights, {4, 8, {name}, 1});
    ASSERT_EQ(adapter.parts.size(), 2u);
    EXPECT_EQ(adapter.parts[1].name, "blk.1.attn_q.weight");
  }
  EXPECT_EQ(MakeAdapter(model->weights, {4, 8, {}, 1}).parts.size(), 14u);
  ExpectError(Error::Kind::kUsage, "no linear layer 'q_pro'", [&] {
    MakeAdapter(model->weights, {4, 8, {"q_pro"}, 1});
  });
}

// As peft 0.21 on transformers 5.24 does: "all-linear" is attention, router and experts, and an
// expert's gate has no adapter without its up.
TEST(AdapterTest, AMixturesRouterAndExpertsAreAmongItsLayers) {
  const auto model = TinyModel(1, "mixtral");
  const AdapterShape all{4, 8, {}, 1};
  EXPECT_EQ(MakeAdapter(model->weights, all).parts.size(), 2u * (4 + 1 + 4 * 3));
  for (const char* name : {"gate", "ffn_gate_inp"}) {
    const Adapter adapter = MakeAdapter(model->weights, {4, 8, {name}, 1});
    ASSERT_EQ(adapter.parts.size(), 2u);
    EXPECT_EQ(adapter.parts[1].name, "blk.1.ffn_gate_inp.weight");
    EXPECT_EQ(adapter.parts[1].rows, 4);
  }
  EXPECT_EQ(MakeAdapter(model->weights, {4, 8, {"w2"}, 1}).parts.size(), 2u * 4);
  EXPECT_EQ(MakeAdapter(model->weights, {4, 8, {"w1", "ffn_up_exps"}, 1}).parts.size(), 2u * 8);
  ExpectError(Error::Kind::kUsage, "'w1' without 'w3'", [&] {
    MakeAdapter(model->weights, {4, 8, {"w1"}, 1});
  });
  ExpectError(Error::Kind::kUsage, "'up_proj' without 'gate_proj'", [&] {
    MakeAdapter(TinyModel(1, "qwen3moe")->weights, {4, 8, {"q_proj", "up_proj"}, 1});
  });
  ExpectError(Error::Kind::kUsage, "there are gate, k_proj, o_proj, q_proj, v_proj, w1, w2, w3",
              [&] {
                MakeAdapter(model->weights, {4, 8, {"gate_proj"}, 1});
              });
}

}  // namespace
}  // namespace halftone
