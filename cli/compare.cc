// halftone compare: the main job.

#include "halftone/compare.h"

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace halftone::cli {
namespace {

class CompareCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    options_.output_dir = "halftone-report";
    AddModel(app, model_);
    app.add_option("--text", options_.text_file, "Text, or chats in JSON lines, to evaluate on")
        ->option_text("FILE")
        ->required();
    app.add_option("--calibration", options_.calibration,
                   "The same to measure activations on; not the one to evaluate on")
        ->option_text("FILE");
    app.add_option("--grids", options_.grids,
                   "Grids and presets, q8_0,q4_k_m; without it a selection from 8 to 2 bits")
        ->option_text("NAMES")
        ->delimiter(',')
        ->allow_extra_args(false);
    app.add_option("--methods", options_.methods,
                   "Methods, rtn,imatrix; without it rtn, and imatrix where there is calibration")
        ->option_text("NAMES")
        ->delimiter(',')
        ->allow_extra_args(false);
    app.add_option("-o,--output", options_.output_dir, "Folder for the report")
        ->option_text("FOLDER")
        ->capture_default_str();
    app.add_flag("--keep", options_.keep_files, "Keep the quantized models there");
    AddContext(app, options_.context, "Tokens in a chunk");
    AddChunks(app, options_.chunks);
    app.add_option("--prompt", options_.prompts, "Text to continue; may be given several times")
        ->allow_extra_args(false);
    app.add_option("--sample-tokens", options_.sample_tokens, "Tokens to continue it by")
        ->option_text("N")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
        ->capture_default_str();
    app.add_option("--note", options_.note, "A remark for the head of the report");
    AddThreads(app, options_.threads);
  }

  std::string Footer() const override {
    return "Example:\n"
           "  halftone compare model.gguf --grids q8_0,q6_k,q4_k_m,q3_k_m,q2_k \\\n"
           "    --text evaluation.txt --calibration calibration.txt -o report\n\n" +
           HelpParagraph(
               "Writes report.html, report.json and report.csv. --json prints report.json. "
               "halftone quantize --help lists grids and methods.");
  }

  void Run(Console& console) override {
    options_.progress = console.progress();
    const CompareReport report = Compare(FindModel(console, model_), options_);
    if (console.json) {
      console.Print(CompareJson(report));
    } else {
      Print(console, report);
    }
    const std::string slash = options_.output_dir.ends_with('/') ? "" : "/";
    console.Say(fmt::format("wrote {}{}report.html, .json and .csv in {}",
                            Printable(options_.output_dir), slash, HumanSeconds(report.seconds)));
  }

 private:
  static void Print(Console& console, const CompareReport& report) {
    Table table({{"variant", Align::kLeft, Narrow::kShrinks},
                 {"bits", Align::kRight, Narrow::kVanishes},
                 {"size"},
                 {"KL div."},
                 {"±", Align::kRight, Narrow::kVanishes},
                 {"same top"},
                 {"PPL", Align::kRight, Narrow::kVanishes},
                 {"prompt t/s", Align::kRight, Narrow::kVanishes},
                 {"gen. t/s"},
                 {"memory", Align::kRight, Narrow::kVanishes}});
    for (const CompareRow& row : report.rows) {
      const EvaluateReport& q = row.quality;
      table.Add(
          {(row.pareto ? "* " : "  ") + row.name, fmt::format("{:.2f}", row.bits_per_weight),
           HumanBytes(row.file_bytes),
           row.is_reference ? "-" : fmt::format("{:.4f}", q.kld_mean.value),
           row.is_reference ? "-" : fmt::format("{:.4f}", q.kld_mean.error),
           row.is_reference ? "-" : fmt::format("{:.1f} %", 100 * q.same_top1.value),
           fmt::format("{:.3f}", q.perplexity.value), fmt::format("{:.1f}", row.speed.prompt_tps),
           fmt::format("{:.1f}", row.speed.generation_tps), HumanBytes(row.speed.peak_bytes)},
          row.pareto);
    }
    console.Print(
        fmt::format("{} ({}, {} parameters) on {}: {} chunks of {} tokens, {} threads\n\n",
                    Printable(report.model), Printable(report.architecture),
                    HumanCount(static_cast<double>(report.parameters)), Printable(report.text_file),
                    report.chunks, report.context, report.threads));
    console.Print(table);
    console.Print(
        "\n* no other variant is both smaller and closer to the reference. KL divergence: nats "
        "from the reference's predictions, 0 is equal.\n");
    if (!report.note.empty()) console.Print(fmt::format("Note: {}\n", Printable(report.note)));
  }

  std::string model_;
  CompareOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeCompare() { return std::make_unique<CompareCommand>(); }

}  // namespace halftone::cli
