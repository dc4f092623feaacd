// halftone merge: an adapter put into the weights, and what that costs.

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"
#include "halftone/finetune.h"

namespace halftone::cli {
namespace {

class MergeCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    AddAdapter(app, options_.adapter, "The adapter: peft's folder or a .gguf")->required();
    AddOutput(app, "-o,--output", output_, "What to write")->required();
    app.add_option(
           "--grid", options_.grid,
           "Grid or preset of the merged weights, as quantize has it, or same: each matrix's own; "
           "without it f16")
        ->option_text("NAME");
    app.add_option("--method", options_.method, "How they are rounded, likewise")
        ->option_text("NAME");
    app.add_option("--container", options_.container,
                   "File format; without it the first that holds the grid")
        ->option_text("NAME");
    app.add_option("--calibration", options_.calibration, "Text that the method measures on")
        ->option_text("FILE");
    app.add_option(
           "--compare", options_.compare,
           "Other grids to tell the cost of, \"f16,q8_0,same\", same being each matrix's own; "
           "\"none\": no other")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->option_text("NAMES")
        ->capture_default_str();
    app.add_option("--text", options_.text,
                   "Text to measure on; without it the one that comes with "
                   "halftone")
        ->option_text("FILE");
    AddContext(app, options_.context, "Tokens in a chunk of it");
    AddChunks(app, options_.chunks);
    AddThreads(app, options_.threads);
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone merge model-q4.gguf --adapter adapter -o merged.gguf\n"
           "  halftone merge model-q4.gguf --adapter adapter -o merged-q4.gguf --grid q4_k_m\n\n" +
           HelpParagraph(
               "Each choice is compared with the model that has the adapter beside its weights, "
               "which no merge reproduces to the bit: rounding the sum again costs quality.") +
           "\n" +
           HelpParagraph(
               "JSON: output, seconds, choices [grid, method, moved, file_bytes, kept, kld_mean, "
               "kld_mean_error, same_top1, perplexity, unmerged_perplexity]");
  }

  void Run(Console& console) override {
    std::erase(options_.compare, "none");
    options_.progress = console.progress();
    const MergeReport report = Merge(FindModel(console, model_), output_, options_);
    if (console.json) {
      Json choices = Json::array();
      for (const MergeChoice& choice : report.choices) {
        choices.push_back({{"grid", choice.grid},
                           {"method", choice.method},
                           {"moved", choice.moved},
                           {"file_bytes", choice.file_bytes},
                           {"kept", choice.kept},
                           {"kld_mean", choice.quality.kld_mean.value},
                           {"kld_mean_error", choice.quality.kld_mean.error},
                           {"same_top1", choice.quality.same_top1.value},
                           {"perplexity", choice.quality.perplexity.value},
                           {"unmerged_perplexity", choice.quality.reference_perplexity.value}});
      }
      console.PrintJson(
          {{"output", report.output}, {"seconds", report.seconds}, {"choices", choices}});
      return;
    }
    Table table({{"merged into", Align::kLeft},
                 {"method", Align::kLeft},
                 {"size"},
                 {"KL divergence"},
                 {"same top token"},
                 {"perplexity"}});
    for (const MergeChoice& choice : report.choices) {
      table.Add({choice.grid + (choice.kept ? " *" : ""),
                 choice.moved > 0 ? "offsets" : choice.method, HumanBytes(choice.file_bytes),
                 fmt::format("{:.6f}", choice.quality.kld_mean.value),
                 fmt::format("{:.2f} %", choice.quality.same_top1.value * 100),
                 fmt::format("{:.4f}", choice.quality.perplexity.value)});
    }
    console.Print(table);
    console.Print(fmt::format("{}: * of these; unmerged perplexity {:.4f}\n",
                              Printable(report.output),
                              report.choices[0].quality.reference_perplexity.value));
    console.Say(console.Dim(fmt::format("took {}", HumanSeconds(report.seconds))));
  }

  std::string model_, output_;
  MergeOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeMerge() { return std::make_unique<MergeCommand>(); }

}  // namespace halftone::cli
