// halftone imatrix: which weights matter on a text.

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/quantize.h"

namespace halftone::cli {
namespace {

class ImatrixCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    app.add_option("--text", text_, "Text, or chats in JSON lines, to read")
        ->option_text("FILE")
        ->required();
    AddOutput(app, "-o,--output", output_, "The importance matrix to write (GGUF)")->required();
    AddContext(app, options_.context, "Tokens in a chunk");
    AddChunks(app, options_.chunks);
    app.add_flag("--process-output", options_.process_output, "Also for the output layer");
    AddAdapter(app, options_.adapter,
               "A LoRA adapter beside the weights: peft's folder or a .gguf");
    AddThreads(app, options_.threads);
  }

  std::string Footer() const override {
    return "Example:\n"
           "  halftone imatrix model.gguf --text calibration.txt -o imatrix.gguf\n\n" +
           HelpParagraph("JSON: output, tokens, chunks, entries, seconds");
  }

  void Run(Console& console) override {
    options_.progress = console.progress();
    const ImatrixReport report =
        ComputeImatrix(FindModel(console, model_), text_, output_, options_);
    if (console.json) {
      console.PrintJson({{"output", output_},
                         {"tokens", report.tokens},
                         {"chunks", report.chunks},
                         {"entries", report.entries},
                         {"seconds", report.seconds}});
      return;
    }
    console.Print(fmt::format("{}: {} tensors, measured on {} tokens in {} chunks\n",
                              Printable(output_), report.entries, report.tokens, report.chunks));
    console.Say(console.Dim(fmt::format("took {}", HumanSeconds(report.seconds))));
  }

 private:
  std::string model_, text_, output_;
  ImatrixOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeImatrix() { return std::make_unique<ImatrixCommand>(); }

}  // namespace halftone::cli
