// halftone bench: speed, beside what the machine's memory allows.

#include "cli/command.h"
#include "cli/options.h"
#include "halftone/evaluate.h"

namespace halftone::cli {
namespace {

class BenchCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    app.add_option("-p,--prompt", options_.prompt, "Tokens of the prompt")
        ->option_text("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("-n,--generate", options_.generate, "Tokens to generate")
        ->option_text("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("-r,--repeats", options_.repeats, "Measurements, of which the median counts")
        ->option_text("N")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("-d,--depth", options_.depth, "Tokens in the context before those generated")
        ->option_text("N")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("-s,--sequences", options_.sequences, "Also generate so many sequences together")
        ->option_text("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 16))
        ->capture_default_str();
    AddPrecision(app, options_.precision);
    AddActivations(app, options_.activations);
    AddKvGrid(app, options_.kv_grid);
    AddThreads(app, options_.threads);
  }

  std::string Footer() const override {
    return "Example:\n"
           "  halftone bench model.gguf -p 512 -n 128 --threads 4\n\n" +
           HelpParagraph(
               "Each generated token reads all weights once, so that memory bandwidth is the "
               "limit of its speed: the last line says how much of it is used.") +
           "\n" +
           HelpParagraph(
               "JSON: prompt_tps, generation_tps, sequences, sequences_tps (null for one), "
               "load_seconds, peak_bytes, weight_bytes, "
               "kv_cache_bytes, read_gbps, machine_gbps, threads");
  }

  void Run(Console& console) override {
    options_.progress = console.progress();
    const BenchReport report = Bench(FindModel(console, model_), options_);
    if (console.json) {
      console.PrintJson(
          {{"prompt_tps", report.prompt_tps},
           {"generation_tps", report.generation_tps},
           {"sequences", options_.sequences},
           {"sequences_tps", options_.sequences > 1 ? Json(report.sequences_tps) : Json(nullptr)},
           {"load_seconds", report.load_seconds},
           {"peak_bytes", report.peak_bytes},
           {"weight_bytes", report.weight_bytes},
           {"kv_cache_bytes", report.kv_cache_bytes},
           {"read_gbps", report.read_gbps},
           {"machine_gbps", report.machine_gbps},
           {"threads", report.threads}});
      return;
    }
    Table table({{"", Align::kLeft}, {"value"}, {"", Align::kLeft}});
    const auto number = [](double value) { return fmt::format("{:.1f}", value); };
    table.Add({"prompt", number(report.prompt_tps),
               fmt::format("tokens/s ({} tokens, {} threads)", options_.prompt, report.threads)});
    table.Add({"generation", number(report.generation_tps),
               fmt::format("tokens/s ({} tokens{})", options_.generate,
                           options_.depth > 0 ? fmt::format(" after {}", options_.depth) : "")});
    if (options_.sequences > 1) {
      table.Add({fmt::format("{} sequences", options_.sequences), number(report.sequences_tps),
                 "tokens/s of all together"});
    }
    table.Add({"KV cache", HumanBytes(report.kv_cache_bytes), "in " + options_.kv_grid});
    table.Add({"load", fmt::format("{:.3f}", report.load_seconds), "s"});
    table.Add({"peak memory", HumanBytes(report.peak_bytes), ""});
    table.Add({"weights", HumanBytes(report.weight_bytes), "read for each token"});
    table.Add(
        {"reading", number(report.read_gbps),
         fmt::format("GB/s of the machine's {:.1f} ({:.0f} %)", report.machine_gbps,
                     report.machine_gbps > 0 ? 100 * report.read_gbps / report.machine_gbps : 0)});
    console.Print(table);
  }

 private:
  std::string model_;
  BenchOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeBench() { return std::make_unique<BenchCommand>(); }

}  // namespace halftone::cli
