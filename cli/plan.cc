// halftone plan: bits against memory, before anything is loaded.

#include "halftone/plan.h"

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace halftone::cli {
namespace {

// "17.2 GB (16.0 GiB)": memory is sold in the one and reported in the other.
std::string BothUnits(uint64_t bytes) {
  return fmt::format("{} ({:.1f} GiB)", HumanBytes(bytes), static_cast<double>(bytes) / 0x1p30);
}

class PlanCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    app.add_option("MODEL", model_, "A model, or a size: 7B, 350M")->required();
    app.add_option("--memory", memory_,
                   "Memory to fit into, such as 16GiB; without it what this machine has")
        ->option_text("SIZE");
    AddContext(app, options_.context, "Tokens that the KV cache shall hold");
    AddKvGrid(app, options_.kv_grid);
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone plan 7B --memory 8GiB\n"
           "  halftone plan model.gguf --context 8192\n\n" +
           HelpParagraph(
               "For a model the sizes are, to the byte, those of the files that quantize "
               "writes; for a bare number of parameters they are estimates. MB and GB are "
               "powers of 1000.") +
           "\n" +
           HelpParagraph(
               "JSON: model, parameters, exact, context, kv_grid, ram_bytes, vram_bytes, advice, "
               "rows "
               "[grid, bits_per_weight, weight_bytes, kv_cache_bytes, activation_bytes, "
               "total_bytes, fits_ram, fits_vram, recommended]");
  }

  void Run(Console& console) override {
    if (!memory_.empty()) options_.memory = ParseBytes(memory_);
    const PlanReport report = Plan(LocalModel(model_, console.progress()), options_);
    if (console.json) {
      console.PrintJson(ToJson(report));
    } else {
      Print(console, report);
    }
  }

 private:
  static Json ToJson(const PlanReport& report) {
    Json rows = Json::array();
    for (const PlanRow& row : report.rows) {
      rows.push_back({{"grid", row.grid},
                      {"bits_per_weight", row.bits_per_weight},
                      {"weight_bytes", row.weight_bytes},
                      {"kv_cache_bytes", row.kv_cache_bytes},
                      {"activation_bytes", row.activation_bytes},
                      {"total_bytes", row.total_bytes},
                      {"fits_ram", row.fits_ram},
                      {"fits_vram", row.fits_vram},
                      {"recommended", row.recommended}});
    }
    return {{"model", report.model},
            {"parameters", report.parameters},
            {"exact", report.exact},
            {"context", report.context},
            {"kv_grid", report.kv_grid},
            {"ram_bytes", report.ram_bytes},
            {"vram_bytes", report.vram_bytes},
            {"advice", report.advice},
            {"rows", rows}};
  }

  void Print(Console& console, const PlanReport& report) const {
    const bool gpu = report.vram_bytes > 0;
    std::vector<Column> columns = {{"format", Align::kLeft},
                                   {"bits"},
                                   {report.exact ? "file" : "weights"},
                                   {"KV cache", Align::kRight, Narrow::kVanishes},
                                   {"activations", Align::kRight, Narrow::kVanishes},
                                   {"total"},
                                   {"fits", Align::kLeft}};
    Table table(columns);
    for (const PlanRow& row : report.rows) {
      std::string fits = row.fits_ram ? (gpu ? "RAM" : "yes") : (gpu ? "" : "no");
      if (row.fits_vram) fits += fits.empty() ? "VRAM" : " VRAM";
      if (fits.empty()) fits = "no";
      if (row.recommended) fits += "  <- best";
      table.Add({row.grid, fmt::format("{:.3f}", row.bits_per_weight), HumanBytes(row.weight_bytes),
                 HumanBytes(row.kv_cache_bytes), HumanBytes(row.activation_bytes),
                 HumanBytes(row.total_bytes), fits},
                row.recommended);
    }
    console.Print(
        fmt::format("{}: {} parameters, context {} in {}, {} {}{}\n\n", Printable(report.model),
                    HumanCount(static_cast<double>(report.parameters)), report.context,
                    report.kv_grid, memory_.empty() ? "RAM" : "memory", BothUnits(report.ram_bytes),
                    gpu ? ", VRAM " + BothUnits(report.vram_bytes) : ""));
    console.Print(table);
    if (!report.advice.empty()) console.Print("\n" + report.advice + "\n");
  }

  std::string model_, memory_;
  PlanOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakePlan() { return std::make_unique<PlanCommand>(); }

}  // namespace halftone::cli
