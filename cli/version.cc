// halftone version: what this build is and what it can do.

#include "cli/command.h"
#include "cli/options.h"
#include "halftone/support.h"

namespace halftone::cli {
namespace {

Json Summaries(const std::vector<NamedSummary>& entries) {
  Json list = Json::array();
  for (const NamedSummary& entry : entries) {
    list.push_back({{"name", entry.name}, {"summary", entry.summary}});
  }
  return list;
}

class VersionCommand : public Command {
 public:
  void Declare(CLI::App&) override {}

  std::string Footer() const override {
    return "Example:\n"
           "  halftone version --json\n\n" +
           HelpParagraph(
               "JSON: version, grids [name, bits_per_weight, block, writable, "
               "needs_importance], presets, methods, containers [name, summary], architectures");
  }

  void Run(Console& console) override {
    if (console.json) {
      Json grids = Json::array();
      for (const GridInfo& grid : Grids()) {
        grids.push_back({{"name", grid.name},
                         {"bits_per_weight", grid.bits_per_weight},
                         {"block", grid.block},
                         {"writable", grid.writable},
                         {"needs_importance", grid.needs_importance}});
      }
      console.PrintJson({{"version", Version()},
                         {"grids", grids},
                         {"presets", Summaries(Presets())},
                         {"methods", Summaries(Methods())},
                         {"containers", Summaries(Containers())},
                         {"architectures", Architectures()}});
      return;
    }
    std::vector<std::string> grids;
    for (const GridInfo& grid : Grids()) grids.push_back(grid.name);
    console.Print(console.Bold("halftone " + Version()) + "\n");
    console.Print(NameList("Grids", grids) + NameList("Presets", Presets()) +
                  NameList("Methods", Methods()) + NameList("Containers", Containers()) +
                  NameList("Architectures", Architectures()));
  }
};

}  // namespace

std::unique_ptr<Command> MakeVersion() { return std::make_unique<VersionCommand>(); }

}  // namespace halftone::cli
