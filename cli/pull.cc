// halftone pull: a model of the hub, into the cache.

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/hub.h"

namespace halftone::cli {
namespace {

class PullCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    app.add_option("MODEL", model_, "ORG/NAME[:FILE][@REVISION]; FILE may be a quantization's name")
        ->required();
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
           "  halftone pull bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0\n\n" +
           HelpParagraph(
               "Prints where the model lies: in the cache that Hugging Face's own libraries use. "
               "Other commands take the same names. An interrupted download goes on where it "
               "ended. HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE mean what "
               "they mean there.") +
           "\n" +
           HelpParagraph(
               "JSON: repository, revision, commit, path, bytes, fetched_bytes, seconds, files "
               "[name, bytes, fetched]");
  }

  void Run(Console& console) override {
    const PullReport report = Pull(model_, {console.progress()});
    if (console.json) {
      Json files = Json::array();
      for (const PulledFile& file : report.files) {
        files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"fetched", file.fetched}});
      }
      console.PrintJson({{"repository", report.repository},
                         {"revision", report.revision},
                         {"commit", report.commit},
                         {"path", report.path},
                         {"bytes", report.bytes},
                         {"fetched_bytes", report.fetched_bytes},
                         {"seconds", report.seconds},
                         {"files", files}});
      return;
    }
    console.Print(Printable(report.path) + "\n");
    console.Say(console.Dim(fmt::format(
        "{} files, {}, {} of them fetched in {}", report.files.size(), HumanBytes(report.bytes),
        HumanBytes(report.fetched_bytes), HumanSeconds(report.seconds))));
  }

 private:
  std::string model_;
};

}  // namespace

std::unique_ptr<Command> MakePull() { return std::make_unique<PullCommand>(); }

}  // namespace halftone::cli
