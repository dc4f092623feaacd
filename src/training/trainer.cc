#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>

#include "base/error.h"
#include "base/mix.h"
#include "container/gguf_reader.h"
#include "container/gguf_writer.h"

namespace halftone {
namespace {

// Uniform in [0, n), the same with every standard library.
size_t Draw(std::mt19937_64& engine, size_t n) {
  return static_cast<size_t>(static_cast<double>(engine() >> 11) * 0x1p-53 *
                             static_cast<double>(n));
}

}  // namespace

Trainer::Trainer(std::shared_ptr<const LoadedModel> model, Adapter adapter,
                 std::vector<TrainingExample> examples, const TrainerOptions& options)
    : model_(std::move(model)),
      adapter_(std::move(adapter)),
      examples_(std::move(examples)),
      options_(options) {
  if (!(options_.dropout >= 0 && options_.dropout < 1)) {
    FailUsage("a dropout of {} is no share that can be left out", options_.dropout);
  }
  if (options_.batch < 1) FailUsage("a batch of {} examples is none", options_.batch);
  const double steps =
      options_.epochs * static_cast<double>(examples_.size()) / static_cast<double>(options_.batch);
  steps_ = options_.steps > 0 ? options_.steps
                              : std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps)));
  const size_t values = adapter_.values->size();
  gradients_.resize(values);
  places_ = GradientsOf(adapter_, model_->weights, gradients_);
  if (options_.moments8) {
    const size_t blocks = (values + kMomentBlock - 1) / kMomentBlock;
    // Zero has another code with a sign than without, but no share of an absmax of 0 counts.
    first_codes_.resize(values);
    second_codes_.resize(values);
    first_absmax_.resize(blocks);
    second_absmax_.resize(blocks);
  } else {
    first_.resize(values);
    second_.resize(values);
  }
  const int64_t longest = LongestOf(examples_);
  pass_tokens_ = std::max(longest, options_.pass_tokens);
  pass_ = std::make_unique<TrainingPass>(
      model_->weights, model_->ops,
      TrainingPassOptions{pass_tokens_, pass_tokens_, options_.remember});
}

float Trainer::LearningRate(int64_t step) const {
  const auto warmup =
      static_cast<int64_t>(std::ceil(options_.warmup * static_cast<double>(steps_)));
  if (step <= warmup) {
    return static_cast<float>(options_.learning_rate * static_cast<double>(step) /
                              static_cast<double>(warmup));
  }
  const double done = static_cast<double>(step - 1 - warmup) /
                      static_cast<double>(std::max<int64_t>(1, steps_ - warmup));
  const double cosine = (1 + std::cos(std::numbers::pi * done)) / 2;
  return static_cast<float>(options_.learning_rate * cosine);
}

size_t Trainer::ExampleAt(int64_t position) {
  const int64_t epoch = position / std::ssize(examples_);
  if (epoch != epoch_) {
    epoch_ = epoch;
    order_.resize(examples_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::seed_seq seed{static_cast<uint32_t>(options_.seed),
                       static_cast<uint32_t>(options_.seed >> 32), static_cast<uint32_t>(epoch)};
    std::mt19937_64 engine(seed);
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[Draw(engine, i)]);
  }
  return order_[static_cast<size_t>(position % std::ssize(examples_))];
}

template <class Run>
void Trainer::ForEachPass(const std::vector<const TrainingExample*>& examples, const Run& run) {
  const WatchedOps watched(*model_->ops, options_.progress);  // but not while values change
  TrainingBatch batch;
  const auto flush = [&] {
    if (!batch.tokens.empty()) run(batch);
    batch = {};
  };
  for (const TrainingExample* example : examples) {
    if (std::ssize(batch.tokens) + std::ssize(example->tokens) > pass_tokens_) flush();
    AddTo(*example, batch);
  }
  flush();
}

TrainingStep Trainer::Step() {
  TrainingStep report;
  report.step = finished_ + 1;
  report.learning_rate = LearningRate(report.step);
  std::vector<const TrainingExample*> chosen;
  int64_t scored = 0;
  for (int64_t i = 0; i < options_.batch; ++i) {
    chosen.push_back(&examples_[ExampleAt(finished_ * options_.batch + i)]);
    scored += chosen.back()->count();
    report.tokens += std::ssize(chosen.back()->tokens);
  }
  std::ranges::fill(gradients_, 0.0f);
  // A key for each pass of each step.
  uint64_t key = Mix(Mix(options_.seed) + static_cast<uint64_t>(report.step));
  ForEachPass(chosen, [&](const TrainingBatch& batch) {
    report.loss += pass_->LossAndGradients(batch, 1.0f / static_cast<float>(scored), places_,
                                           {options_.dropout, Mix(++key)});
  });
  report.loss /= static_cast<double>(scored);
  AverageInGroups(adapter_, gradients_);
  double squares = 0;
  for (const float g : gradients_) squares += static_cast<double>(g) * g;
  report.norm = std::sqrt(squares);
  if (!std::isfinite(report.loss) || !std::isfinite(report.norm)) {
    FailUnsupported(
        "step {}: the loss is {} and its derivatives' norm {}: training went astray, "
        "a lower learning rate may help",
        report.step, report.loss, report.norm);
  }

  AdamWStep step;
  step.step = report.step;
  step.learning_rate = report.learning_rate;
  step.beta1 = options_.beta1;
  step.beta2 = options_.beta2;
  step.weight_decay = options_.weight_decay;
  if (options_.clip > 0 && report.norm > options_.clip) {
    step.gradient_factor = static_cast<float>(options_.clip / report.norm);
  }
  const int64_t n = std::ssize(gradients_);
  float* values = adapter_.values->data();
  if (options_.moments8) {
    model_->ops->StepAdamW8(step, gradients_.data(), n, values,
                            {first_codes_.data(), first_absmax_.data()},
                            {second_codes_.data(), second_absmax_.data()});
  } else {
    model_->ops->StepAdamW(step, gradients_.data(), n, values, first_.data(), second_.data());
  }
  // Equal values with equal derivatives stay equal, unless their moments lie in several blocks of 8
  // bits.
  AverageInGroups(adapter_, *adapter_.values);
  ++finished_;
  return report;
}

double Trainer::Evaluate(const std::vector<TrainingExample>& examples) {
  std::vector<const TrainingExample*> all;
  int64_t scored = 0;
  for (const TrainingExample& example : examples) {
    all.push_back(&example);
    scored += example.count();
  }
  double loss = 0;
  ForEachPass(all, [&](const TrainingBatch& batch) { loss += pass_->Loss(batch); });
  return loss / static_cast<double>(scored);
}

namespace {

constexpr std::string_view kType = "halftone-training-state";

std::span<const uint8_t> BytesOf(const auto& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(values[0])};
}

}  // namespace

void Trainer::SaveState(const std::string& path, const std::string& identity,
                        const std::string& notes) const {
  CheckpointPlan plan;
  plan.metadata.Set("general.type", std::string(kType));
  plan.metadata.Set("training.identity", identity);
  plan.metadata.Set("training.notes", notes);
  plan.metadata.Set("training.step", static_cast<uint64_t>(finished_));
  std::vector<std::span<const uint8_t>> data;
  const auto add = [&](const char* name, const Grid& grid, const auto& values) {
    if (values.empty()) return;
    plan.tensors.push_back({name, &grid, {std::ssize(values)}});
    data.push_back(BytesOf(values));
  };
  const Grid &f32 = F32Grid(), &bytes = GridNamed("i8");
  add("values", f32, *adapter_.values);
  add("first", f32, first_);
  add("second", f32, second_);
  add("first.codes", bytes, first_codes_);
  add("second.codes", bytes, second_codes_);
  add("first.absmax", f32, first_absmax_);
  add("second.absmax", f32, second_absmax_);
  const auto writer = CreateGguf(path, plan);
  for (const auto& part : data) writer->Append(part);
  writer->Commit();
}

std::string Trainer::LoadState(const std::string& path, const std::string& identity) {
  const Checkpoint state = ReadGguf(path);
  const std::string* type = state.metadata.String("general.type");
  if (type == nullptr || *type != kType) FailFormat("{}: is no state of a training", path);
  const std::string* of = state.metadata.String("training.identity");
  if (of == nullptr || *of != identity) {
    FailUsage("{}: is the state of a training with another model, data or options", path);
  }
  const auto step = state.metadata.Int("training.step");
  if (!step || *step < 0) FailFormat("{}: training.step is missing", path);
  const auto take = [&](const char* name, auto& values) {
    if (values.empty()) return;
    const Tensor& tensor = state.Get(name);
    if (tensor.data.size() != BytesOf(values).size()) {
      FailFormat("{}: '{}' has {} bytes, not {}", path, name, tensor.data.size(),
                 BytesOf(values).size());
    }
    std::copy(tensor.data.begin(), tensor.data.end(), reinterpret_cast<uint8_t*>(values.data()));
  };
  take("values", *adapter_.values);
  take("first", first_);
  take("second", second_);
  take("first.codes", first_codes_);
  take("second.codes", second_codes_);
  take("first.absmax", first_absmax_);
  take("second.absmax", second_absmax_);
  finished_ = *step;
  const std::string* notes = state.metadata.String("training.notes");
  return notes == nullptr ? "" : *notes;
}

}  // namespace halftone
