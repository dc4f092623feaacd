// Fine-tuning: steps of AdamW on the values of an adapter, over examples in an order that the seed
// decides. The same seed, examples and options give the same adapter to the bit, with any number of
// threads, in one run or resumed.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/session.h"
#include "halftone/progress.h"
#include "training/adapter.h"
#include "training/example.h"
#include "training/training_pass.h"

namespace halftone {

struct TrainerOptions {
  int64_t batch = 8;  // examples in a step
  double epochs = 1;
  int64_t steps = 0;  // at most; 0: as the epochs say
  double learning_rate = 2e-4;
  double warmup = 0.03;  // share of the steps in which the rate rises from 0; then a cosine falls
  float weight_decay = 0;
  float beta1 = 0.9f, beta2 = 0.999f;
  float clip = 1;         // the largest norm that all derivatives together keep; 0: any
  bool moments8 = false;  // AdamW's moments in 8 bits
  float dropout = 0;      // share of what meets A that is left out, of each pair and token anew
  uint64_t seed = 0;
  int64_t pass_tokens = 0;  // at most so many go through the model together; 0: the longest example
  bool remember = false;    // as TrainingPassOptions
  Progress* progress = nullptr;  // that steps and evaluations ask whether to go on
};

struct TrainingStep {
  int64_t step = 0;  // from 1 on
  double loss = 0;   // mean of the step's scored tokens before it, nats
  double norm = 0;   // of the derivatives, before clipping
  float learning_rate = 0;
  int64_t tokens = 0;  // that went through the model
};

class Trainer {
 public:
  // `model` has the adapter attached.
  Trainer(std::shared_ptr<const LoadedModel> model, Adapter adapter,
          std::vector<TrainingExample> examples, const TrainerOptions& options);

  int64_t steps() const { return steps_; }  // in all
  int64_t finished() const { return finished_; }
  const Adapter& adapter() const { return adapter_; }

  // Takes the next step. Throws Error (kUnsupported) naming the step where the loss or a derivative
  // is not finite, kCancelled. After an exception all is as before the step.
  TrainingStep Step();

  // Mean loss of the scored tokens of other examples, nats.
  double Evaluate(const std::vector<TrainingExample>& examples);

  // Everything that the next step depends on but for model, examples and options; and back. `path`:
  // a GGUF file, which appears whole or not at all. `identity` says what it belongs to; `notes` are
  // the caller's, who gets them back. Throws Error (kUsage) for a state of something else.
  void SaveState(const std::string& path, const std::string& identity,
                 const std::string& notes) const;
  std::string LoadState(const std::string& path, const std::string& identity);

  // The learning rate of a step, from 1 on.
  float LearningRate(int64_t step) const;

 private:
  // The example that is `position`th in the order of training, over all epochs.
  size_t ExampleAt(int64_t position);
  // Calls run(batch) for the examples in passes of as many as fit, in their order.
  template <class Run>
  void ForEachPass(const std::vector<const TrainingExample*>& examples, const Run& run);

  std::shared_ptr<const LoadedModel> model_;
  Adapter adapter_;
  std::vector<TrainingExample> examples_;
  TrainerOptions options_;
  int64_t steps_ = 0, finished_ = 0;
  std::vector<float> gradients_;
  LowRankGradients places_;
  std::vector<float> first_, second_;  // moments, or with moments8 empty
  std::vector<uint8_t> first_codes_, second_codes_;
  std::vector<float> first_absmax_, second_absmax_;
  std::vector<size_t> order_;  // of epoch_
  int64_t epoch_ = -1;
  int64_t pass_tokens_ = 0;
  std::unique_ptr<TrainingPass> pass_;
};

}  // namespace halftone
