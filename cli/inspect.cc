// halftone inspect: what a model file holds, without running it.

#include "halftone/inspect.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "halftone/error.h"

namespace halftone::cli {
namespace {

class InspectCommand : public Command {
 public:
  void Declare(CLI::App& app) override {
    AddModel(app, model_);
    auto* tensor =
        app.add_option("--tensor", tensor_, "Only this tensor, decoded")->option_text("NAME");
    AddOutput(app, "--npy", npy_, "Where to write its f32 values")->needs(tensor);
  }

  std::string Footer() const override {
    return "Examples:\n"
           "  halftone inspect model.gguf\n"
           "  halftone inspect model.gguf --tensor output_norm.weight --npy norm.npy\n\n" +
           HelpParagraph(
               "JSON: path, container, architecture, file_bytes, tensor_bytes, parameters, "
               "bits_per_weight, kind (empty for models), notes, metadata [key, type, value], "
               "tensors [name, grid, shape, "
               "bytes, bits_per_weight]; with --tensor: tensor, shape, min, max, mean, rms, "
               "not_finite, npy");
  }

  void Run(Console& console) override {
    model_ = FindModel(console, model_);
    if (!tensor_.empty()) {
      ShowTensor(console);
      return;
    }
    const Inspection file = Inspect(model_);
    if (console.json) {
      console.PrintJson(ToJson(file));
    } else {
      Print(console, file);
    }
  }

 private:
  static Json ToJson(const Inspection& file) {
    Json metadata = Json::array(), tensors = Json::array();
    for (const MetadataInfo& m : file.metadata) {
      metadata.push_back({{"key", m.key}, {"type", m.type}, {"value", m.value}});
    }
    for (const TensorInfo& t : file.tensors) {
      tensors.push_back({{"name", t.name},
                         {"grid", t.grid},
                         {"shape", t.shape},
                         {"bytes", t.bytes},
                         {"bits_per_weight", t.bits_per_weight}});
    }
    return {{"path", file.path},
            {"container", file.container},
            {"architecture", file.architecture},
            {"file_bytes", file.file_bytes},
            {"tensor_bytes", file.tensor_bytes},
            {"parameters", file.parameters},
            {"bits_per_weight", file.bits_per_weight},
            {"kind", file.kind},
            {"notes", file.notes},
            {"metadata", metadata},
            {"tensors", tensors}};
  }

  static void Print(Console& console, const Inspection& file) {
    Table metadata({{"metadata", Align::kLeft, Narrow::kLast},
                    {"type", Align::kLeft},
                    {"value", Align::kLeft, Narrow::kShrinks}});
    for (const MetadataInfo& m : file.metadata) {
      metadata.Add({Printable(m.key), m.type, Printable(m.value)});
    }
    Table tensors({{"tensor", Align::kLeft, Narrow::kShrinks},
                   {"shape", Align::kLeft},
                   {"grid", Align::kLeft},
                   {"bits"},
                   {"size"}});
    std::map<std::string, std::pair<int, uint64_t>> grids;
    for (const TensorInfo& t : file.tensors) {
      tensors.Add({Printable(t.name), ShapeText(t.shape), t.grid,
                   fmt::format("{:.3f}", t.bits_per_weight), HumanBytes(t.bytes)});
      grids[t.grid].first += 1;
      grids[t.grid].second += t.bytes;
    }
    if (!metadata.empty()) {
      console.Print(metadata);
      console.Print("\n");
    }
    if (!tensors.empty()) {
      console.Print(tensors);
      console.Print("\n");
    }
    Table summary({{"grid", Align::kLeft}, {"tensors"}, {"size"}});
    for (const auto& [grid, sum] : grids) {
      summary.Add({grid, fmt::format("{}", sum.first), HumanBytes(sum.second)});
    }
    console.Print(summary);
    console.Print(fmt::format(
        "\n{}: {}{}, {} parameters, {}, {:.3f} bits per weight\n", Printable(file.path),
        file.container,
        file.architecture.empty() ? "" : fmt::format(" ({})", Printable(file.architecture)),
        HumanCount(static_cast<double>(file.parameters)), console.Bold(HumanBytes(file.file_bytes)),
        file.bits_per_weight));
    for (const std::string& note : file.notes) {
      console.Print(fmt::format("Note: {}\n", Printable(note)));
    }
  }

  void ShowTensor(Console& console) {
    const DecodedTensor tensor = DecodeTensor(model_, tensor_);
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    int64_t finite = 0;
    for (const float value : tensor.values) {
      if (!std::isfinite(value)) continue;
      ++finite;
      sum += value;
      squares += static_cast<double>(value) * value;
      least = std::min<double>(least, value);
      most = std::max<double>(most, value);
    }
    if (finite == 0) least = most = 0;
    const double count = static_cast<double>(std::max<int64_t>(1, finite));
    const int64_t not_finite = static_cast<int64_t>(tensor.values.size()) - finite;
    if (!npy_.empty()) WriteNpyFile(npy_, tensor.shape, tensor.values);
    if (console.json) {
      console.PrintJson({{"tensor", tensor_},
                         {"shape", tensor.shape},
                         {"min", least},
                         {"max", most},
                         {"mean", sum / count},
                         {"rms", std::sqrt(squares / count)},
                         {"not_finite", not_finite},
                         {"npy", npy_}});
      return;
    }
    console.Print(fmt::format("{} {}: min {:.6g}, max {:.6g}, mean {:.6g}, rms {:.6g}{}\n",
                              Printable(tensor_), ShapeText(tensor.shape), least, most, sum / count,
                              std::sqrt(squares / count),
                              not_finite > 0 ? fmt::format(", {} not finite", not_finite) : ""));
    if (!npy_.empty()) console.Print(fmt::format("{}: f32\n", Printable(npy_)));
  }

  std::string model_, tensor_, npy_;
};

}  // namespace

std::unique_ptr<Command> MakeInspect() { return std::make_unique<InspectCommand>(); }

}  // namespace halftone::cli
