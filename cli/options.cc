#include "cli/options.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "cli/terminal.h"

namespace halftone::cli {
namespace {

// Of the tensors that a note concerns; --all lists every one.
constexpr size_t kNamedInNote = 3;

// What the tensors on one grid have in common.
struct GridSummary {
  int tensors = 0;
  uint64_t bytes = 0;
  double squares = 0;  // of the relative errors of the rounded ones
  int rounded = 0;
};

std::string ErrorText(double error) {
  return error > 0 ? fmt::format("{:.3f} %", error * 100) : "-";
}

Table TensorTable(const QuantizeReport& report) {
  Table table({{"tensor", Align::kLeft, Narrow::kLast},
               {"shape", Align::kLeft},
               {"from", Align::kLeft},
               {"to", Align::kLeft},
               {"size"},
               {"error"},
               {"note", Align::kLeft, Narrow::kShrinks}});
  for (const QuantizedTensor& t : report.tensors) {
    table.Add({Printable(t.name), ShapeText(t.shape), t.source_grid, t.grid, HumanBytes(t.bytes),
               ErrorText(t.relative_error), t.note});
  }
  return table;
}

Table SummaryTable(const QuantizeReport& report) {
  std::vector<std::string> order;
  std::map<std::string, GridSummary> grids;
  for (const QuantizedTensor& t : report.tensors) {
    GridSummary& sum = grids[t.grid];
    if (sum.tensors++ == 0) order.push_back(t.grid);
    sum.bytes += t.bytes;
    if (t.relative_error > 0) {
      sum.squares += t.relative_error * t.relative_error;
      ++sum.rounded;
    }
  }
  std::ranges::sort(order,
                    [&](const auto& a, const auto& b) { return grids[a].bytes > grids[b].bytes; });
  Table table({{"grid", Align::kLeft}, {"tensors"}, {"size"}, {"share"}, {"error"}});
  const double all = static_cast<double>(std::max<uint64_t>(1, report.tensor_bytes));
  for (const std::string& grid : order) {
    const GridSummary& sum = grids[grid];
    table.Add({grid, fmt::format("{}", sum.tensors), HumanBytes(sum.bytes),
               fmt::format("{:.1f} %", 100 * static_cast<double>(sum.bytes) / all),
               ErrorText(sum.rounded > 0 ? std::sqrt(sum.squares / sum.rounded) : 0)});
  }
  return table;
}

}  // namespace

void AddKvGrid(CLI::App& app, std::string& grid) {
  const std::vector<std::string> names = KvGrids();
  app.add_option("--kv-grid", grid, fmt::format("Grid of the KV cache: {}", fmt::join(names, ", ")))
      ->option_text("NAME")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
}

void AddPrecision(CLI::App& app, Precision& precision) {
  auto* four = app.add_flag_callback(
      "--load-in-4bit", [&] { precision.load_in = LoadIn::k4Bit; },
      "Round the blocks' matrices to 4 bits while loading, as bitsandbytes");
  app.add_flag_callback(
         "--load-in-8bit", [&] { precision.load_in = LoadIn::k8Bit; },
         "The same to 8 bits, and activations with them: LLM.int8()")
      ->excludes(four);
  app.add_option("--bnb-4bit-quant-type", precision.quant_type, "Levels of 4 bits: nf4 or fp4")
      ->option_text("NAME")
      ->check(CLI::IsMember({"nf4", "fp4"}))
      ->capture_default_str()
      ->needs(four);
  app.add_flag("--bnb-4bit-use-double-quant", precision.double_quant,
               "Round the scales of 4 bits to 8 bits")
      ->needs(four);
  app.add_option("--llm-int8-threshold", precision.int8_threshold,
                 "Activations from N on are not rounded by LLM.int8(); 0: all are; else 6, or "
                 "what the model's file says")
      ->option_text("N")
      ->check(Between(0, 1e30));
}

void AddActivations(CLI::App& app, Activations& activations) {
  static const std::map<std::string, Activations> kNames = {
      {"int8", Activations::kInt8}, {"bf16", Activations::kBf16}, {"f32", Activations::kF32}};
  const auto name = std::ranges::find(kNames, activations, [](const auto& n) { return n.second; });
  app.add_option("--activations", activations,
                 "What weights are multiplied by: int8 (rounded, fast), bf16 or f32 (exact)")
      ->option_text("NAME")
      ->transform(CLI::CheckedTransformer(kNames).description(""))
      ->default_str(name->first);
}

std::string NameList(const std::string& heading, const std::vector<std::string>& names) {
  return heading + ":\n" + HelpEntry("", fmt::format("{}", fmt::join(names, " ")), 2);
}

std::string NameList(const std::string& heading, const std::vector<NamedSummary>& entries) {
  size_t width = 0;
  for (const NamedSummary& entry : entries) width = std::max(width, entry.name.size());
  std::string out = heading + ":\n";
  for (const NamedSummary& entry : entries) {
    out += HelpEntry(entry.name, entry.summary, width + 4);
  }
  return out;
}

std::vector<std::string> WritableGrids() {
  std::vector<std::string> names;
  for (const GridInfo& grid : Grids()) {
    if (grid.writable) names.push_back(grid.name);
  }
  return names;
}

void PrintQuantizeReport(Console& console, const QuantizeReport& report, bool all) {
  console.Print(all ? TensorTable(report) : SummaryTable(report));
  // Each reason once, with the tensors that it concerns.
  std::map<std::string, std::vector<std::string>> notes;
  for (const QuantizedTensor& t : report.tensors) {
    if (!t.note.empty() && !all) notes[t.note].push_back(Printable(t.name));
  }
  for (const auto& [note, names] : notes) {
    const auto shown = std::span(names).first(std::min(kNamedInNote, names.size()));
    const size_t more = names.size() - shown.size();
    console.Print(fmt::format("{} tensor{}: {} ({}{})\n", names.size(),
                              names.size() == 1 ? "" : "s", note, fmt::join(shown, ", "),
                              more == 0 ? "" : fmt::format(" and {} more", more)));
  }
  std::string how = report.grid;
  if (!report.method.empty()) how += (how.empty() ? "" : ", ") + report.method;
  how += (how.empty() ? "" : ", ") + report.container;
  console.Print(fmt::format("{}{}, {:.3f} bits per weight ({})\n",
                            report.output.empty() ? "" : Printable(report.output) + ": ",
                            console.Bold(HumanBytes(report.file_bytes)), report.bits_per_weight,
                            how));
}

Json QuantizeJson(const QuantizeReport& report) {
  Json tensors = Json::array();
  for (const QuantizedTensor& t : report.tensors) {
    tensors.push_back({{"name", t.name},
                       {"shape", t.shape},
                       {"source_grid", t.source_grid},
                       {"grid", t.grid},
                       {"bytes", t.bytes},
                       {"relative_error", t.relative_error},
                       {"output_error", t.output_error},
                       {"output_error_rtn", t.output_error_rtn},
                       {"damping", t.damping},
                       {"seconds", t.seconds},
                       {"note", t.note}});
  }
  return {{"output", report.output},
          {"grid", report.grid},
          {"method", report.method},
          {"container", report.container},
          {"file_bytes", report.file_bytes},
          {"tensor_bytes", report.tensor_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"seconds", report.seconds},
          {"tensors", tensors}};
}

}  // namespace halftone::cli
