// halftone convert: the same weights in another container.

#include "cli/command.h"
#include "cli/options.h"
#include "halftone/quantize.h"

namespace halftone::cli {
namespace {

class ConvertCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    AddOutput(app, "-o,--output", output_, "The file to write")->required();
    app.add_option("--container", options_.container,
                   "File format; without it what the output's name says, else gguf")
        ->option_text("NAME");
    app.add_flag("--requantize", options_.requantize,
                 "Round anew what the container cannot hold as it is; loses accuracy");
    AddSplit(app, split_);
    AddThreads(app, options_.threads);
    app.add_flag("--all", all_, "List every tensor");
  }

  std::string Footer() const override {
    return "Example:\n"
           "  halftone convert hf-folder -o model.gguf --container gguf\n\n" +
           NameList("Containers", Containers()) + "\n" +
           HelpParagraph(
               "JSON: output, container, file_bytes, tensor_bytes, bits_per_weight, seconds, "
               "exact, reexpressed, rounded, relative_change, tensors [name, shape, source_grid, "
               "grid, "
               "bytes, relative_error, note]");
  }

  static std::string Summary(const ConvertReport& report) {
    std::string text = fmt::format(
        "{} tensor{} exactly as before, {} with the same codes and scales on another grid, {} "
        "rounded anew",
        report.exact, report.exact == 1 ? "" : "s", report.reexpressed, report.rounded);
    if (report.relative_change > 0) {
      text += fmt::format("; weights changed by {:.4g} % (RMS)", report.relative_change * 100);
    }
    return text + "\n";
  }

  void Run(Console& console) override {
    options_.progress = console.progress();
    if (!split_.empty()) options_.split_bytes = ParseBytes(split_);
    const ConvertReport report = Convert(FindModel(console, model_), output_, options_);
    if (console.json) {
      Json json = QuantizeJson(report);
      json.erase("grid");
      json.erase("method");
      // What only methods with calibration text measure.
      for (Json& tensor : json["tensors"]) {
        for (const char* key : {"output_error", "output_error_rtn", "damping", "seconds"}) {
          tensor.erase(key);
        }
      }
      json["exact"] = report.exact;
      json["reexpressed"] = report.reexpressed;
      json["rounded"] = report.rounded;
      json["relative_change"] = report.relative_change;
      console.PrintJson(json);
      return;
    }
    // What was rounded is named one by one: it is no longer the same model.
    PrintQuantizeReport(console, report, all_ || report.rounded > 0);
    console.Print(Summary(report));
    console.Say(console.Dim(fmt::format("took {}", HumanSeconds(report.seconds))));
  }

 private:
  std::string model_, output_, split_;
  ConvertOptions options_;
  bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeConvert() { return std::make_unique<ConvertCommand>(); }

}  // namespace halftone::cli
