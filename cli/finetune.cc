// halftone finetune: an adapter trained beside a quantized model.

#include "halftone/finetune.h"

#include <cmath>
#include <map>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"

namespace halftone::cli {
namespace {

class FinetuneCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    const auto whole = [&](const char* name, int64_t& value, const char* meaning, int64_t least) {
      app.add_option(name, value, meaning)
          ->check(CLI::Range(least, int64_t{1} << 40))
          ->option_text("N")
          ->capture_default_str();
    };
    const auto number = [&](const char* name, double& value, const char* meaning, double most) {
      app.add_option(name, value, meaning)
          ->check(Between(0, most))
          ->option_text("X")
          ->capture_default_str();
    };
    app.add_option("--data", options_.data, "Text, or JSON lines, to train on")
        ->required()
        ->option_text("FILE");
    AddOutput(app, "-o,--output", output_, "The folder to write the adapter to")
        ->required()
        ->option_text("ADAPTER");
    auto* held_out =
        app.add_option("--held-out", options_.held_out, "What to evaluate on meanwhile")
            ->option_text("FILE");
    app.add_option("--held-out-share", options_.held_out_share,
                   "In its place: keep this share of the examples apart")
        ->check(Between(0, 0.9))
        ->option_text("X")
        ->excludes(held_out);
    whole("--evaluate-every", options_.evaluate_every, "Steps between evaluations; 0: ten in all",
          0);
    AddContext(app, options_.context, "Tokens of an example at most; longer ones are cut");
    app.add_flag("--refuse-long", options_.refuse_long, "Refuse longer ones instead");
    whole("--rank", options_.rank, "Rank of the matrices that are trained", 1);
    number("--alpha", options_.alpha, "Their product is scaled by alpha / rank", 1e38);
    app.add_option("--target", targets_,
                   "Layers that get them, \"q_proj,v_proj\"; all-linear: each linear layer inside "
                   "the blocks")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->option_text("NAMES");
    number("--dropout", options_.dropout, "Share of what meets them that each step leaves out",
           0.99);
    app.add_flag("--mergeable", options_.mergeable,
                 "Train what merge can put into offsets without rounding weights again (for q4_1, "
                 "q5_1, q2_k, q4_k, q5_k)");
    AddAdapter(app, options_.adapter, "Go on with this adapter instead of a new one");
    number("--epochs", options_.epochs, "Times that each example is seen", 1e6);
    whole("--steps", options_.steps, "In place of epochs: steps", 0);
    whole("--batch", options_.batch, "Examples in a step", 1);
    whole("--accumulate", options_.accumulate, "Such batches in a step", 1);
    number("--lr", options_.learning_rate, "Learning rate at its highest", 10);
    number("--warmup", options_.warmup, "Share of the steps in which it rises; then a cosine", 1);
    number("--weight-decay", options_.weight_decay, "Of AdamW", 10);
    number("--clip", options_.clip, "Norm that the derivatives keep at most; 0: any", 1e9);
    app.add_flag("--optimizer-8bit", options_.moments8, "Keep AdamW's moments in 8 bits");
    static const std::map<std::string, Checkpointing> kCheckpointing = {
        {"auto", Checkpointing::kAuto}, {"on", Checkpointing::kOn}, {"off", Checkpointing::kOff}};
    app.add_option("--checkpointing", options_.checkpointing,
                   "Compute layers again on the way back to save memory: auto, on or off")
        ->transform(CLI::CheckedTransformer(kCheckpointing))
        ->option_text("WHEN");
    app.add_option("--seed", options_.seed, "Decides the beginning and the order of examples")
        ->option_text("N")
        ->capture_default_str();
    app.add_option("--adapter-type", options_.adapter_type,
                   "Numbers in the adapter's files: f32, f16 or bf16; trained in f32")
        ->check(CLI::IsMember({"f32", "f16", "bf16"}))
        ->option_text("TYPE")
        ->capture_default_str();
    number("--save-seconds", options_.save_seconds,
           "Between states that --resume goes on from; 0: one after each step", 1e9);
    app.add_flag("--resume", options_.resume, "Go on where an interrupted run ended");
    AddActivations(app, options_.activations);
    AddPrecision(app, options_.precision);
    AddThreads(app, options_.threads);
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone finetune model-q4.gguf --data chats.jsonl -o adapter\n"
           "  halftone finetune hf-folder --load-in-4bit --data book.txt -o adapter\n\n" +
           HelpParagraph(
               "The model's weights stay as they are, on any grid and in any container. The folder "
               "holds what peft loads (adapter_model.safetensors), what llama.cpp loads with "
               "--lora "
               "(adapter.gguf), the curve of the loss (loss.svg) and its numbers (training.json). "
               "run and evaluate take it with --adapter, merge puts it into the weights. Of chats "
               "only what the assistant says counts.") +
           "\n" +
           HelpParagraph(
               "JSON: output, examples, held_out_examples, truncated, dropped, trained, tokens, "
               "seconds, tokens_per_second, peak_bytes, checkpointing, points [step, loss, norm, "
               "learning_rate, tokens, seconds], held_out [step, loss, perplexity]");
  }

  void Run(Console& console) override {
    for (const std::string& target : targets_) {
      if (target != "all-linear") options_.targets.push_back(target);
    }
    options_.progress = console.progress();
    const FinetuneReport report = Finetune(FindModel(console, model_), output_, options_);
    if (console.json) {
      console.PrintJson(Json::parse(FinetuneJson(report)));
      return;
    }
    Print(console, report);
  }

 private:
  static void Print(Console& console, const FinetuneReport& report) {
    Table table({{"step"}, {"training loss"}, {"held-out loss"}, {"held-out perplexity"}});
    size_t at = 0;
    for (const HeldOutPoint& held : report.held_out) {
      double sum = 0;
      int64_t count = 0;
      for (; at < report.points.size() && report.points[at].step <= held.step; ++at, ++count) {
        sum += report.points[at].loss;
      }
      table.Add({fmt::format("{}", held.step),
                 count > 0 ? fmt::format("{:.4f}", sum / static_cast<double>(count)) : "",
                 fmt::format("{:.4f}", held.loss), fmt::format("{:.3f}", std::exp(held.loss))});
    }
    if (!report.held_out.empty()) console.Print(table);
    console.Print(fmt::format(
        "{}: {} values trained on {} examples in {} steps, loss {:.4f}\n", Printable(report.output),
        HumanCount(static_cast<double>(report.trained)), report.examples, report.points.size(),
        report.points.empty() ? NAN : report.points.back().loss));
    console.Say(console.Dim(fmt::format("{} tokens in {}, {:.0f} tokens/s, peak memory {}",
                                        report.tokens, HumanSeconds(report.seconds),
                                        report.tokens_per_second, HumanBytes(report.peak_bytes))));
  }

  std::string model_, output_;
  std::vector<std::string> targets_;
  FinetuneOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeFinetune() { return std::make_unique<FinetuneCommand>(); }

}  // namespace halftone::cli
