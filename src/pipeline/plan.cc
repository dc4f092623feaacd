// What each grid costs in memory, and which one to take.
//
// For a model file the weights are what quantize would write, to the byte. For a bare size they are
// the bits that each mix spends on a typical model of that size. A model needs its weights, the
// keys and values of its context, and the engine's buffers at once.

#include "halftone/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/error.h"
#include "kernel/ops.h"
#include "pipeline/dimensions.h"
#include "pipeline/machine.h"
#include "pipeline/plan_quantize.h"
#include "pipeline/presets.h"
#include "pipeline/source.h"

namespace halftone {
namespace {

// Beyond this many bits nobody has measured a loss, so more are no better advice.
constexpr double kEnoughBits = 9;

// Below this many bits more quality in RAM is better advice than more speed on the GPU.
constexpr double kFewBits = 4;

constexpr int64_t kMaxContext = int64_t{1} << 31;

// The largest model that a bare size may name.
constexpr double kMaxParameters = 1e15;

// "7B" -> 7000000000; none if the text is no such size.
std::optional<int64_t> ParseSize(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  double unit = 0;
  switch (text.back()) {
    case 'k':
    case 'K':
      unit = 1e3;
      break;
    case 'm':
    case 'M':
      unit = 1e6;
      break;
    case 'b':
    case 'B':
      unit = 1e9;
      break;
    case 't':
    case 'T':
      unit = 1e12;
      break;
    default:
      return std::nullopt;
  }
  double number = 0;
  const char* last = text.data() + text.size() - 1;
  const auto [end, error] = std::from_chars(text.data(), last, number, std::chars_format::fixed);
  if (error != std::errc() || end != last) return std::nullopt;
  const double parameters = number * unit;
  if (!(parameters >= 1e3 && parameters <= kMaxParameters)) return std::nullopt;
  return std::llround(parameters);
}

// "3.5 GB", decimal units.
std::string SizeText(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.1f} GB", value / 1e9);
  return fmt::format("{:.0f} MB", value / 1e6);
}

PlanRow MakeRow(std::string grid, uint64_t weight_bytes, int64_t parameters) {
  PlanRow row;
  row.grid = std::move(grid);
  row.weight_bytes = weight_bytes;
  row.bits_per_weight = 8.0 * static_cast<double>(weight_bytes) /
                        static_cast<double>(std::max<int64_t>(1, parameters));
  return row;
}

// The size of each file that quantize could write. A grid that the container cannot hold is left
// out.
void AddExactRows(const std::shared_ptr<const Source>& source, PlanReport& report) {
  std::optional<Error> refused;
  for (const Preset& preset : AllPresets()) {
    QuantizeOptions options;
    options.grid = preset.name;
    try {
      const QuantizeReport quantized = PlanQuantize(source, options);
      PlanRow row = MakeRow(options.grid, quantized.file_bytes, report.parameters);
      row.bits_per_weight = quantized.bits_per_weight;
      report.rows.push_back(std::move(row));
    } catch (const Error& error) {
      if (error.kind() != Error::Kind::kUsage) throw;
      refused = error;
    }
  }
  if (report.rows.empty() && refused) throw *refused;
}

// What each preset would take of a typical model, scaled to the size asked for.
void AddTypicalRows(const ModelDimensions& dimensions, PlanReport& report) {
  const std::vector<Tensor> tensors = TensorsOf(dimensions);
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : tensors) order.push_back(&tensor);
  const ModelShape shape = {"llama", dimensions.layers, dimensions.heads, dimensions.kv_heads,
                            0,       dimensions.tied};
  const auto parameters = static_cast<double>(report.parameters);
  for (const Preset& preset : AllPresets()) {
    const auto choices = ChooseGrids(preset, shape, order, false);
    double bytes = 0, weights = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      const uint64_t row = choices[i].grid->RowBytes(order[i]->cols());
      bytes += static_cast<double>(row) * static_cast<double>(order[i]->rows());
      weights += static_cast<double>(order[i]->count());
    }
    report.rows.push_back(MakeRow(std::string(preset.name),
                                  static_cast<uint64_t>(std::llround(bytes / weights * parameters)),
                                  report.parameters));
  }
  // The rule of thumb: codes alone, without the scales that every grid of few bits has.
  for (const int bits : {8, 4}) {
    report.rows.push_back(MakeRow(fmt::format("{}-bit without scales", bits),
                                  static_cast<uint64_t>(std::llround(parameters / 8 * bits)),
                                  report.parameters));
  }
}

bool IsAdvised(const PlanRow& row) {
  const Preset* preset = FindPreset(row.grid);
  return preset != nullptr && preset->advised;
}

// The advised row with the most bits that fits, or null.
PlanRow* BestRow(PlanReport& report, bool PlanRow::*fits) {
  PlanRow* best = nullptr;
  for (PlanRow& row : report.rows) {
    if (!(row.*fits) || !IsAdvised(row) || row.bits_per_weight > kEnoughBits) continue;
    if (best == nullptr || row.bits_per_weight > best->bits_per_weight) best = &row;
  }
  return best;
}

std::string Advice(PlanReport& report, bool given) {
  const std::string where = given ? "given" : "free";
  PlanRow* best = BestRow(report, &PlanRow::fits_vram);
  uint64_t memory = report.vram_bytes;
  std::string place = where + " on the GPU";
  if (best == nullptr || best->bits_per_weight < kFewBits) {
    PlanRow* in_ram = BestRow(report, &PlanRow::fits_ram);
    if (best == nullptr || (in_ram != nullptr && in_ram->bits_per_weight >= kFewBits)) {
      best = in_ram;
      memory = report.ram_bytes;
      place = where + (given ? "" : " in RAM");
    }
  }
  const std::string guess =
      report.exact ? "" : "; sizes are estimates from published models of about this size";
  if (best == nullptr) {
    const PlanRow* least = nullptr;
    for (const PlanRow& row : report.rows) {
      if (IsAdvised(row) && (least == nullptr || row.total_bytes < least->total_bytes))
        least = &row;
    }
    if (least == nullptr) return "no grid of this build can be advised";
    return fmt::format("nothing to be advised fits into the {} {}: the smallest, {}, needs {}{}",
                       SizeText(report.ram_bytes), where + (given ? "" : " in RAM"), least->grid,
                       SizeText(least->total_bytes), guess);
  }
  best->recommended = true;
  std::string advice = fmt::format(
      "{} is the most precise that fits: {} of the {} {}, of which {} hold the context of {} "
      "tokens",
      best->grid, SizeText(best->total_bytes), SizeText(memory), place,
      SizeText(best->kv_cache_bytes), report.context);
  if (best->bits_per_weight < kFewBits) {
    advice += "; so few bits are felt, and an imatrix or calibration text is worth its time";
  }
  return advice + guess;
}

}  // namespace

PlanReport Plan(const std::string& model, const PlanOptions& options) {
  if (options.context < 1 || options.context > kMaxContext) {
    FailUsage("a context of {} tokens is out of range", options.context);
  }
  PlanReport report;
  report.model = model;
  report.context = options.context;
  report.kv_grid = options.kv_grid;
  const Grid& cache_grid = GridNamed(options.kv_grid);
  if (std::ranges::count(CacheGrids(), &cache_grid) == 0) {
    FailUsage("keys and values cannot be on the grid {}", options.kv_grid);
  }
  std::error_code error;
  report.exact = std::filesystem::exists(model, error);
  ModelDimensions dimensions;
  if (report.exact) {
    const auto source = std::make_shared<const Source>(OpenSource(model));
    report.parameters = source->parameters;
    dimensions = DimensionsOf(*source);
    AddExactRows(source, report);
  } else if (const auto parameters = ParseSize(model)) {
    report.parameters = *parameters;
    dimensions = TypicalDimensions(*parameters);
    AddTypicalRows(dimensions, report);
  } else {
    FailUsage("'{}' is neither a model file or folder nor a size such as 7B or 350M", model);
  }

  report.ram_bytes = options.memory != 0 ? options.memory : ReadMachineMemory().available;
  report.vram_bytes = options.memory != 0 ? 0 : ReadGpuMemory().available;
  const uint64_t cache = KvCacheBytes(dimensions, options.context, cache_grid);
  const uint64_t activations = ActivationBytes(dimensions, std::min(kPromptBatch, options.context));
  for (PlanRow& row : report.rows) {
    row.kv_cache_bytes = cache;
    row.activation_bytes = activations;
    row.total_bytes = row.weight_bytes + cache + activations;
    row.fits_ram = row.total_bytes <= report.ram_bytes;
    row.fits_vram = row.total_bytes <= report.vram_bytes;
  }
  std::ranges::stable_sort(report.rows, std::greater<>(), &PlanRow::bits_per_weight);
  report.advice = Advice(report, options.memory != 0);
  return report;
}

}  // namespace halftone
