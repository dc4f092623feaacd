// That training learns, repeats itself to the bit, resumes where it was, and stops before it breaks
// anything. tests/golden/training_test.cc compares its steps with torch's.

#include "training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "halftone/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using testing::HasSubstr;

std::shared_ptr<LoadedModel> TinyModel(int threads, const std::string& name = "llama") {
  return std::make_shared<LoadedModel>(
      OpenCheckpoint(SourcePath("tests/golden/architectures/") + name),
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

// What is left out hangs on the seed alone, and is the same where it is computed twice.
TEST(TrainerTest, DropsOutTheSameHoweverItRuns) {
  const TempFolder folder;
  const std::string state = folder.path() / "state";
  for (const std::string name : kModels) {
    SCOPED_TRACE(name);
    TrainerOptions options = Options();
    options.dropout = 0.3f;
    Trainer whole = MakeTrainer(options, 2, name);
    ValuesAfter(whole, 4);
    whole.SaveState(state, "one", "");
    const std::vector<float> values = ValuesAfter(whole, 8);

    Trainer resumed = MakeTrainer(options, 1, name);
    resumed.LoadState(state, "one");
    EXPECT_TRUE(ValuesAfter(resumed, 8) == values);
    options.remember = true;
    Trainer remembering = MakeTrainer(options, 3, name);
    EXPECT_TRUE(ValuesAfter(remembering, 8) == values);

    options.seed = 6;
    Trainer other = MakeTrainer(options, 2, name);
    EXPECT_FALSE(ValuesAfter(other, 8) == values);
  }
}

// An adapter that is still zero gives the same loss, with or without; later only evaluations do.
TEST(TrainerTest, LeavesNothingOutOfEvaluations) {
  TrainerOptions options = Options();
  Trainer plain = MakeTrainer(options);
  options.dropout = 0.5f;
  Trainer dropping = MakeTrainer(options);
  EXPECT_EQ(plain.Step().loss, dropping.Step().loss);
  ValuesAfter(plain, 6);
  std::ranges::copy(ValuesAfter(dropping, 6), plain.adapter().values->begin());
  EXPECT_EQ(plain.Evaluate(Examples()), dropping.Evaluate(Examples()));
  EXPECT_NE(plain.Step().loss, dropping.Step().loss);
}

TEST(TrainerTest, RefusesToLeaveAllOut) {
  for (const float dropout : {1.0f, -0.1f, NAN}) {
    TrainerOptions options = Options();
    options.dropout = dropout;
    ExpectError(Error::Kind::kUsage, "no share that can be left out",
                [&] { MakeTrainer(options); });
  }
}

// For a fixed key, each pair's derivatives against the loss's differences along them.
TEST(TrainingPassTest, DerivativesAreOfTheLossWithWhatIsLeftOut) {
  for (const std::string name : kModels) {
    auto model = TinyModel(2, name);
    Adapter adapter = MakeAdapter(model->weights, {2, 4, {}, 1});
    std::mt19937 engine(3);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    for (float& value : *adapter.values) value = normal(engine);
    Attach(adapter, model->weights, "test");
    TrainingBatch batch;
    for (size_t i = 0; i < 3; ++i) AddTo(Examples()[i], batch);
    TrainingPass pass(model->weights, model->ops, {256, 64});
    const Dropout dropout{0.5f, 99};
    const auto scored = static_cast<float>(batch.scored());
    std::vector<float> gradients(adapter.values->size());
    const double loss = pass.LossAndGradients(
        batch, 1 / scored, GradientsOf(adapter, model->weights, gradients), dropout);
    EXPECT_GT(std::fabs(loss - pass.Loss(batch)), 1e-3 * loss);
    std::vector<float> unused(adapter.values->size());
    const auto places = GradientsOf(adapter, model->weights, unused);
    const auto loss_at = [&](const std::vector<float>& values) {
      std::ranges::copy(values, adapter.values->begin());
      return pass.LossAndGradients(batch, 1 / scored, places, dropout) / scored;
    };
    const std::vector<float> at = *adapter.values;
    for (const AdapterPart& part : adapter.parts) {
      double squares = 0;
      for (size_t i = part.a; i < part.a + part.values(); ++i) {
        squares += static_cast<double>(gradients[i]) * gradients[i];
      }
      if (squares < 1e-6) continue;  // an expert that few tokens were sent to
      double nearest = INFINITY;
      // The loss jumps where a token goes to another expert, which a shorter step does not reach.
      for (const double length : {1e-3, 3e-4, 1e-4}) {
        const auto step = static_cast<float>(length / std::sqrt(squares));
        std::vector<float> above = at, below = at;
        for (size_t i = part.a; i < part.a + part.values(); ++i) {
          above[i] += step * gradients[i];
          below[i] -= step * gradients[i];
        }
        const double difference = (loss_at(above) - loss_at(below)) / (2.0 * step);
        nearest = std::min(nearest, std::fabs(difference / squares - 1));
      }
      EXPECT_LT(nearest, 0.02) << name << " " << part.name << " " << part.first_row;
    }
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
