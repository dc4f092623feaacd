#include "halftone/finetune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <type_traits>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/fnv.h"
#include "base/seconds.h"
#include "evaluation/memory.h"
#include "pipeline/adapter_files.h"
#include "pipeline/finetune_report.h"
#include "pipeline/load.h"
#include "pipeline/machine.h"
#include "pipeline/temporary_file.h"
#include "pipeline/training_text.h"
#include "training/trainer.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Of the memory that is free, what may hold results for the way back.
constexpr double kRememberedShare = 0.25;
constexpr int64_t kEvaluations = 10;

const Grid& NumbersNamed(const std::string& name) {
  for (const char* type : {"f32", "f16", "bf16"}) {
    if (name == type) return GridNamed(name);
  }
  FailUsage("an adapter is written in f32, f16 or bf16, not in '{}'", name);
}

// "adapter/" names the folder "adapter", beside which the state lies.
std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

// One run of Finetune.
class Run {
 public:
  Run(const std::string& model, const std::string& output, const FinetuneOptions& options)
      : name_(model),
        output_(WithoutSlash(output)),
        state_(output_ + ".partial"),
        type_(NumbersNamed(options.adapter_type)),
        options_(options) {
    if (options.data.empty()) FailUsage("there is no data to train on");
    if (options.batch < 1 || options.accumulate < 1) FailUsage("a batch needs an example");
    if (!(options.held_out_share >= 0 && options.held_out_share < 1)) {
      FailUsage("{} is no share of the examples that can be held out", options.held_out_share);
    }
    std::error_code error;
    if (fs::exists(output_, error) && !fs::is_empty(output_, error)) {
      FailUsage("{}: exists; remove it or choose another name", output_);
    }
    ResetPeakMemory();
    Checkpoint checkpoint = OpenToRun(model, options.precision, options.threads, options.progress);
    // Derivatives are those of the weights, not of LLM.int8()'s rounding of what they meet.
    checkpoint.int8_threshold.reset();
    const Activations activations =
        options.activations == Activations::kBf16 ? Activations::kBf16 : Activations::kF32;
    model_ = std::make_shared<LoadedModel>(
        std::move(checkpoint), std::shared_ptr<Ops>(MakeCpuOps(options.threads, activations)));
    ReadData();
    MakeTrainer();
  }

  FinetuneReport Do() {
    if (options_.resume && fs::exists(state_)) {
      ReadCurve(trainer_->LoadState(state_, identity_), report_);
    }
    if (trainer_->finished() == 0) Evaluate();
    Train();
    if (report_.held_out.empty() || report_.held_out.back().step != trainer_->finished()) {
      Guarded([&] { Evaluate(); });
    }
    report_.output = output_;
    report_.peak_bytes = PeakMemory();
    Write();
    return std::move(report_);
  }

 private:
  void ReadData() {
    const TextInput data = ReadTextInput(options_.data);
    TrainingText text = ReadTrainingText(model_->checkpoint, data, options_.context,
                                         options_.refuse_long, options_.progress);
    if (options_.progress != nullptr && text.truncated > 0) {
      options_.progress->Note(fmt::format("{}: {} of {} examples were cut at {} tokens", data.name,
                                          text.truncated, std::ssize(text.examples) + text.dropped,
                                          options_.context));
    }
    report_.truncated = text.truncated;
    report_.dropped = text.dropped;
    examples_ = std::move(text.examples);
    if (!options_.held_out.empty()) {
      held_out_ = ReadTrainingText(model_->checkpoint, ReadTextInput(options_.held_out),
                                   options_.context, false, nullptr)
                      .examples;
    } else if (options_.held_out_share > 0) {
      HoldOut();
    }
    report_.examples = std::ssize(examples_);
    report_.held_out_examples = std::ssize(held_out_);
    identity_ = Identity(data.text);
  }

  // What a state must agree with. The learning rate may change: it is lowered after a run went
  // astray.
  std::string Identity(const std::string& data) const {
    const FinetuneOptions& o = options_;
    Fnv fnv;
    fnv.Add(HALFTONE_VERSION);
    fnv.Add(data);
    fnv.Add(fmt::format("{} {} {} {} {} {} {} {}", o.adapter, o.held_out, o.held_out_share,
                        o.context, o.rank, o.alpha, o.mergeable, fmt::join(o.targets, ",")));
    fnv.Add(fmt::format("{} {} {} {} {} {} {} {} {} {} {}", o.epochs, o.steps, o.batch,
                        o.accumulate, o.warmup, o.weight_decay, o.clip, o.moments8, o.dropout,
                        o.seed, static_cast<int>(o.activations)));
    fnv.Add(fmt::format("{} {}", model_->weights.tensor_bytes, model_->weights.parameters.layers));
    return fmt::format("{:016x}", fnv.hash());
  }

  // Examples at equal distances: those at the end of a file may differ from the others.
  void HoldOut() {
    const auto count = std::ssize(examples_);
    const auto wanted =
        static_cast<int64_t>(std::ceil(static_cast<double>(count) * options_.held_out_share));
    if (wanted >= count) {
      FailUsage("{}: {} examples are too few to hold any out", options_.data, count);
    }
    std::vector<TrainingExample> kept;
    for (int64_t i = 0; i < count; ++i) {
      const bool held = (i + 1) * wanted / count > i * wanted / count;
      (held ? held_out_ : kept).push_back(std::move(examples_[static_cast<size_t>(i)]));
    }
    examples_ = std::move(kept);
  }

  void MakeTrainer() {
    Adapter adapter;
    if (options_.adapter.empty()) {
      adapter = MakeAdapter(model_->weights, {options_.rank, static_cast<float>(options_.alpha),
                                              options_.targets, options_.seed});
      Attach(adapter, model_->weights, output_);
    } else {
      adapter = LoadAdapter(options_.adapter, *model_);
    }
    if (options_.mergeable) MakeMergeable(adapter);
    report_.trained = std::ssize(*adapter.values);
    TrainerOptions to;
    to.batch = options_.batch * options_.accumulate;
    to.epochs = options_.epochs;
    to.steps = options_.steps;
    to.learning_rate = options_.learning_rate;
    to.warmup = options_.warmup;
    to.weight_decay = static_cast<float>(options_.weight_decay);
    to.clip = static_cast<float>(options_.clip);
    to.moments8 = options_.moments8;
    to.dropout = static_cast<float>(options_.dropout);
    to.seed = options_.seed;
    to.pass_tokens = LongestOf(examples_, LongestOf(held_out_));
    to.remember = Remembers(to.pass_tokens);
    to.progress = options_.progress;
    report_.checkpointing = !to.remember;
    trainer_ = std::make_unique<Trainer>(model_, std::move(adapter), std::move(examples_), to);
  }

  void MakeMergeable(Adapter& adapter) const {
    const std::vector<float> before = *adapter.values;
    const int64_t shared = ShareInGroups(*model_, adapter), parts = std::ssize(adapter.parts);
    if (shared == 0) FailUsage("{}: no matrix is on a grid whose groups have an offset", name_);
    if (!options_.adapter.empty() && *adapter.values != before) {
      FailUsage("{}: was not trained to be mergeable", options_.adapter);
    }
    if (shared == parts || options_.progress == nullptr) return;
    options_.progress->Note(
        fmt::format("{} of {} matrices are on grids without offsets; merging rounds them again",
                    parts - shared, parts));
  }

  bool Remembers(int64_t tokens) const {
    if (options_.checkpointing != Checkpointing::kAuto) {
      return options_.checkpointing == Checkpointing::kOff;
    }
    const uint64_t bytes = TrainingPass::Bytes(model_->weights.parameters, {tokens, tokens, true});
    return static_cast<double>(bytes) <=
           kRememberedShare * static_cast<double>(ReadMachineMemory().available);
  }

  void Evaluate() {
    if (held_out_.empty()) return;
    report_.held_out.push_back({trainer_->finished(), trainer_->Evaluate(held_out_)});
    if (options_.progress == nullptr) return;
    const HeldOutPoint& point = report_.held_out.back();
    options_.progress->Note(fmt::format("step {}: held-out loss {:.4f}, perplexity {:.2f}",
                                        point.step, point.loss, std::exp(point.loss)));
  }

  void Train() {
    const int64_t steps = trainer_->steps();
    const int64_t every = options_.evaluate_every > 0 ? options_.evaluate_every
                                                      : std::max<int64_t>(1, steps / kEvaluations);
    Progress* progress = options_.progress;
    if (progress != nullptr) progress->Begin("fine-tune", steps);
    auto saved = Clock::now();
    while (trainer_->finished() < steps) {
      const auto start = Clock::now();
      const TrainingStep step = Guarded([&] { return trainer_->Step(); });
      const FinetunePoint point{step.step,          step.loss,   step.norm,
                                step.learning_rate, step.tokens, SecondsSince(start)};
      report_.points.push_back(point);
      report_.tokens += point.tokens;
      report_.seconds += point.seconds;
      if (progress != nullptr) progress->Advance(trainer_->finished());
      if (SecondsSince(saved) >= options_.save_seconds) {
        Save();
        saved = Clock::now();
      }
      if (trainer_->finished() % every == 0) Guarded([&] { Evaluate(); });
    }
    if (progress != nullptr) progress->End();
    if (report_.seconds > 0) {
      report_.tokens_per_second = static_cast<double>(report_.tokens) / report_.seconds;
    }
  }

  // Where a step or an evaluation does not succeed, the state before it is kept.
  template <class Work>
  std::invoke_result_t<Work> Guarded(const Work& work) {
    try {
      return work();
    } catch (const Error& error) {
      Save();
      if (error.kind() == Error::Kind::kCancelled) {
        Fail(error.kind(), "{}: cancelled after step {}; the same command with --resume goes on",
             output_, trainer_->finished());
      }
      Fail(error.kind(), "{}; the state before that is kept in {}", error.what(), state_);
    }
  }

  void Save() const { trainer_->SaveState(state_, identity_, FinetuneJson(report_)); }

  // The folder appears with all its files or not at all. Until then the last state is kept: what
  // was trained is not lost where there is no room for it.
  void Write() {
    Save();
    try {
      WriteFolder();
    } catch (const Error& error) {
      Fail(error.kind(),
           "{}; what was trained is kept in {}, and the same command with --resume writes it",
           error.what(), state_);
    }
    std::error_code error;
    fs::remove(state_, error);
  }

  void WriteFolder() {
    const auto modules = ModulesOf(*model_, trainer_->adapter());
    const TemporaryFile whole(output_ + ".part");
    std::error_code error;
    fs::remove_all(whole.path(), error);  // of a run that was killed here
    WritePeftAdapter(whole.path(), modules, name_, type_);
    WriteGgufAdapter(whole.path() / "adapter.gguf", modules, *model_->weights.architecture,
                     model_->weights.parameters, fs::path(output_).filename().string(), type_);
    WriteFile(whole.path() / "loss.svg", FinetuneSvg(report_));
    WriteFile(whole.path() / "training.json", FinetuneJson(report_) + "\n");
    fs::rename(whole.path(), output_, error);
    if (error) FailIo("{}: cannot finish: {}", output_, error.message());
  }

  std::string name_, output_, state_;
  const Grid& type_;  // of the numbers that are written
  const FinetuneOptions& options_;
  std::shared_ptr<LoadedModel> model_;
  std::vector<TrainingExample> examples_, held_out_;
  std::unique_ptr<Trainer> trainer_;
  std::string identity_;  // of what a state belongs to
  FinetuneReport report_;
};

}  // namespace

FinetuneReport Finetune(const std::string& model, const std::string& output,
                        const FinetuneOptions& options) {
  return Run(model, output, options).Do();
}

}  // namespace halftone
