// halftone evaluate: what a model lost.

#include "halftone/evaluate.h"

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"
#include "halftone/inspect.h"

namespace halftone::cli {
namespace {

class EvaluateCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    auto* text = app.add_option("--text", text_, "Text, or chats in JSON lines, to read")
                     ->option_text("FILE");
    app.add_option("--reference", options_.reference, "The model to compare with")
        ->option_text("MODEL")
        ->needs(text);
    app.add_option("--reference-adapter", options_.reference_adapter, "A LoRA adapter beside it")
        ->option_text("PATH");
    AddContext(app, options_.context, "Tokens in a chunk; the second half of each is scored");
    AddChunks(app, options_.chunks);
    AddAdapter(app, options_.adapter,
               "A LoRA adapter beside the weights: peft's folder or a .gguf");
    AddPrecision(app, options_.precision);
    AddActivations(app, options_.activations);
    AddKvGrid(app, options_.kv_grid);
    AddThreads(app, options_.threads);
    auto* tokens = app.add_option("--tokens", tokens_, "Instead: token ids to run, 1,2,3")
                       ->option_text("IDS")
                       ->delimiter(',')
                       ->allow_extra_args(false)
                       ->excludes(text);
    auto* npy = AddOutput(app, "--npy", npy_, "Where to write their f32 logits");
    tokens->needs(npy);
    npy->needs(tokens);
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone evaluate model-q4.gguf --text evaluation.txt --reference model.gguf\n"
           "  halftone evaluate model.gguf --tokens 1,2,3 --npy logits.npy\n\n" +
           HelpParagraph(
               "Perplexity is that of llama-perplexity: exp of the mean negative log-likelihood "
               "over the second half of each chunk. The divergences are in nats. After ± stands "
               "one standard error.") +
           "\n" +
           HelpParagraph(
               "JSON: perplexity, perplexity_error, tokens, chunks, seconds, and with "
               "--reference (null without) reference_perplexity, reference_perplexity_error, "
               "kld_mean, kld_mean_error, kld_median, kld_p99, kld_max, same_top1, "
               "same_top1_error, rms_delta_p, rms_delta_p_error; same_top1 and rms_delta_p are "
               "fractions of 1. With --tokens: npy, tokens, vocabulary.");
  }

  void Run(Console& console) override {
    if (!tokens_.empty()) {
      WriteLogits(console);
      return;
    }
    if (text_.empty()) throw Error(Error::Kind::kUsage, "give --text FILE, or --tokens and --npy");
    options_.progress = console.progress();
    options_.reference = FindModel(console, options_.reference);
    const EvaluateReport report = Evaluate(FindModel(console, model_), text_, options_);
    if (console.json) {
      console.PrintJson(ToJson(report));
    } else {
      Print(console, report);
    }
  }

 private:
  static Json ToJson(const EvaluateReport& report) {
    const bool has = report.has_reference;
    const auto given = [&](double value) { return has ? Json(value) : Json(nullptr); };
    return {{"perplexity", report.perplexity.value},
            {"perplexity_error", report.perplexity.error},
            {"reference_perplexity", given(report.reference_perplexity.value)},
            {"reference_perplexity_error", given(report.reference_perplexity.error)},
            {"kld_mean", given(report.kld_mean.value)},
            {"kld_mean_error", given(report.kld_mean.error)},
            {"kld_median", given(report.kld_median)},
            {"kld_p99", given(report.kld_p99)},
            {"kld_max", given(report.kld_max)},
            {"same_top1", given(report.same_top1.value)},
            {"same_top1_error", given(report.same_top1.error)},
            {"rms_delta_p", given(report.rms_delta_p.value)},
            {"rms_delta_p_error", given(report.rms_delta_p.error)},
            {"tokens", report.tokens},
            {"chunks", report.chunks},
            {"seconds", report.seconds}};
  }

  static void Print(Console& console, const EvaluateReport& report) {
    Table table({{"", Align::kLeft}, {"value"}, {"±"}});
    const auto add = [&](const char* name, Estimate e, double scale, int digits, const char* unit) {
      table.Add({name, fmt::format("{:.{}f}{}", e.value * scale, digits, unit),
                 fmt::format("{:.{}f}", e.error * scale, digits)});
    };
    const auto plain = [&](const char* name, double value) {
      table.Add({name, fmt::format("{:.6f}", value), ""});
    };
    add("perplexity", report.perplexity, 1, 4, "");
    if (report.has_reference) {
      add("reference perplexity", report.reference_perplexity, 1, 4, "");
      add("KL divergence, mean", report.kld_mean, 1, 6, "");
      plain("KL divergence, median", report.kld_median);
      plain("KL divergence, 99 %", report.kld_p99);
      plain("KL divergence, max", report.kld_max);
      add("same top token", report.same_top1, 100, 3, " %");
      add("RMS change of p", report.rms_delta_p, 100, 3, " %");
    }
    console.Print(table);
    console.Say(console.Dim(
        fmt::format("{} tokens scored in {} chunks, {:.1f} tokens/s", report.tokens, report.chunks,
                    report.seconds > 0 ? 2 * report.tokens / report.seconds : 0)));
  }

  void WriteLogits(Console& console) {
    int64_t vocabulary = 0;
    model_ = FindModel(console, model_);
    const std::vector<float> logits =
        EvaluateLogits(model_, tokens_, options_.threads, &vocabulary, options_.precision,
                       options_.kv_grid, options_.adapter);
    const auto count = static_cast<int64_t>(tokens_.size());
    WriteNpyFile(npy_, {count, vocabulary}, logits);
    if (console.json) {
      console.PrintJson({{"npy", npy_}, {"tokens", count}, {"vocabulary", vocabulary}});
    } else {
      console.Print(fmt::format("{}: f32 [{}, {}]\n", Printable(npy_), count, vocabulary));
    }
  }

  std::string model_, text_, npy_;
  std::vector<int32_t> tokens_;
  EvaluateOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeEvaluate() { return std::make_unique<EvaluateCommand>(); }

}  // namespace halftone::cli
