// halftone quantize: a model on fewer bits.

#include "halftone/quantize.h"

#include <charconv>
#include <filesystem>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"

namespace halftone::cli {
namespace {

class QuantizeCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    AddOutput(app, "-o,--output", output_, "The file to write");
    app.add_option("--grid", options_.grid, "Grid or preset, see below")->option_text("NAME");
    app.add_option("--target-size", size_,
                   "Instead of --grid: a file of at most this size, \"50MB\" or bytes; the grid of "
                   "each tensor is chosen by what it costs, measured on calibration text")
        ->option_text("SIZE");
    app.add_option("--target-bpw", options_.target_bits,
                   "Instead of --grid: at most so many bits per weight, chosen likewise")
        ->check(Between(1, 32))
        ->option_text("BITS");
    app.add_option("--target-memory", memory_,
                   "Instead of --grid: what fits so much memory with a context of so many tokens, "
                   "\"8GiB@8192\", chosen likewise")
        ->option_text("SIZE@TOKENS");
    app.add_option("--method", options_.method,
                   "How each weight is rounded, \"gptq\" or \"awq+gptq\"; without it best where "
                   "there is calibration text, imatrix where there is an imatrix file, else rtn")
        ->option_text("NAME");
    app.add_option("--container", options_.container,
                   "File format; without it the first that holds the grid")
        ->option_text("NAME");
    app.add_option("--calibration", options_.calibration,
                   "Text, or chats in JSON lines, to measure activations on; without it gptq and "
                   "best use the text that comes with halftone")
        ->option_text("FILE");
    AddContext(app, options_.context, "Tokens in a chunk of it");
    AddChunks(app, options_.calibration_chunks);
    app.add_flag("--act-order", options_.act_order,
                 "Round columns from the most to the least active one, where the container can "
                 "keep that order (gptq)");
    app.add_flag("--resume", options_.resume, "Go on where an interrupted run ended");
    app.add_option("--imatrix", options_.imatrix, "Importance matrix, .gguf or .dat")
        ->option_text("FILE");
    AddAdapter(app, options_.adapter, "A LoRA adapter to put into the weights first");
    AddSplit(app, split_);
    AddThreads(app, options_.threads);
    app.add_flag("--dry-run", dry_run_,
                 "Say what would be written, to the byte, and write nothing");
    app.add_flag("--all", all_, "List every tensor");
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone quantize model.gguf -o model-q4.gguf --grid q4_k_m\n"
           "  halftone quantize hf-folder -o small.gguf --grid q3_k_m --calibration text.txt\n"
           "  halftone quantize hf-folder -o fits.gguf --target-size 4GB\n\n" +
           NameList("Presets", Presets()) + NameList("Grids", WritableGrids()) +
           NameList("Methods", Methods()) + NameList("Containers", Containers()) + "\n" +
           HelpParagraph(
               "JSON: output, grid, method, container, file_bytes, tensor_bytes, "
               "bits_per_weight, seconds, dry_run, tensors [name, shape, source_grid, grid, "
               "bytes, relative_error, output_error, output_error_rtn, damping, seconds, note]");
  }

  void Run(Console& console) override {
    if (output_.empty() && !dry_run_) {
      throw Error(Error::Kind::kUsage, "give -o OUT, or --dry-run to write nothing");
    }
    options_.progress = console.progress();
    ReadTargets();
    if (!split_.empty()) options_.split_bytes = ParseBytes(split_);
    if (options_.grid.empty() && size_.empty() && memory_.empty() && options_.target_bits == 0) {
      throw Error(Error::Kind::kUsage,
                  "give --grid NAME, or a target: --target-size, --target-bpw or --target-memory");
    }
    model_ = FindModel(console, model_);
    const QuantizeReport report = dry_run_ ? PlanQuantize(model_, options_) : Write(console);
    if (console.json) {
      Json json = QuantizeJson(report);
      json["dry_run"] = dry_run_;
      console.PrintJson(json);
      return;
    }
    PrintQuantizeReport(console, report, all_);
    if (!dry_run_) console.Say(console.Dim(fmt::format("took {}", HumanSeconds(report.seconds))));
  }

 private:
  void ReadTargets() {
    if (!size_.empty()) options_.target_bytes = ParseBytes(size_);
    if (memory_.empty()) return;
    const size_t at = memory_.find('@');
    options_.target_memory = ParseBytes(memory_.substr(0, at));
    if (at == std::string::npos) return;
    const char* const last = memory_.data() + memory_.size();
    const auto [end, error] =
        std::from_chars(memory_.data() + at + 1, last, options_.target_context);
    if (error != std::errc() || end != last || options_.target_context < 1) {
      throw Error(Error::Kind::kUsage, "--target-memory: '" + Printable(memory_) +
                                           "' does not end in @ and a number of tokens");
    }
  }

  QuantizeReport Write(Console& console) {
    try {
      return Quantize(model_, output_, options_);
    } catch (const Error&) {
      console.Abandon();
      SayWhatIsKept(console);
      throw;
    }
  }

  // Methods that take long keep what they have finished.
  void SayWhatIsKept(Console& console) const {
    const std::string folder = output_ + ".partial";
    std::error_code error;
    int tensors = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      tensors += entry.path().extension() == ".tensor";
    }
    if (tensors == 0) return;
    console.Say(
        fmt::format("halftone: note: {} finished tensors are kept in {}; the same command "
                    "with --resume goes on from there",
                    tensors, Printable(folder)));
  }

  std::string model_, output_, size_, memory_, split_;
  QuantizeOptions options_;
  bool dry_run_ = false, all_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeQuantize() { return std::make_unique<QuantizeCommand>(); }

}  // namespace halftone::cli
