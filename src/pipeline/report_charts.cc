// The page's charts that need no script: bars of speed and memory, heat maps of the weights' error.
// A bar is an element whose width is a percentage (--w), with a tick at the limit (--limit) where
// there is one; a heat map is a table whose cells have a shade from 0 to 1 (--v). The style sheet
// turns both into colours, for light and dark.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- Bars ----

struct Bar {
  double value = kNan;  // the bar's length
  double part = kNan;   // of it, drawn darker
  double limit = kNan;  // a tick
  std::string text;     // beside the bar
  std::string tip;
};

// The tokens/s at which the weights alone take all of the machine's memory bandwidth.
double GenerationLimit(const BenchReport& speed) {
  if (!(speed.machine_gbps > 0) || speed.weight_bytes == 0) return kNan;
  return speed.machine_gbps * 1e9 / static_cast<double>(speed.weight_bytes);
}

std::string BarHtml(const CompareReport& report, size_t index, const Bar& bar, double scale) {
  const CompareRow& row = report.rows[index];
  const auto width = [scale](double value) {
    return fmt::format("{:.2f}%", std::clamp(value / scale * 100, 0.0, 100.0));
  };
  std::string track;
  if (std::isfinite(bar.limit)) {
    track += fmt::format("<span class=\"limit\" style=\"--limit:{}\"></span>", width(bar.limit));
  }
  if (std::isfinite(bar.value)) {
    track += fmt::format("<span class=\"fill{}\" style=\"--w:{}\"></span>",
                         std::isfinite(bar.part) ? " rest" : "", width(bar.value));
  }
  if (std::isfinite(bar.part)) {
    track += fmt::format("<span class=\"fill part\" style=\"--w:{}\"></span>", width(bar.part));
  }
  return fmt::format(
      "<li class=\"bar {}\" data-row=\"{}\" data-tip=\"{}\"><span class=\"bar-name\">{}{}</span>"
      "<span class=\"track\" aria-hidden=\"true\">{}</span><span class=\"bar-value\">{}</span>"
      "</li>\n",
      MethodClass(report, row), index, EscapeHtml(bar.tip), MethodMark(report, row),
      EscapeHtml(row.name), track, bar.text);
}

std::string PanelHtml(const CompareReport& report, const std::string& id, const std::string& title,
                      const std::string& unit, const std::vector<Bar>& bars,
                      const std::string& foot) {
  double scale = 0, limits = 0;
  for (const Bar& bar : bars) {
    if (std::isfinite(bar.value)) scale = std::max(scale, bar.value);
    if (std::isfinite(bar.limit)) limits = std::max(limits, bar.limit);
  }
  if (scale == 0) return "";
  // A limit far away would squeeze the bars to nothing; the text still gives it.
  if (limits <= 4 * scale) scale = std::max(scale, limits);
  std::string html = fmt::format(
      "<figure class=\"panel\" id=\"{}\"><figcaption><h3>{}</h3> <span "
      "class=\"unit\">{}</span></figcaption>\n<ul class=\"bars\">\n",
      id, title, unit);
  for (size_t i = 0; i < bars.size(); ++i) {
    Bar bar = bars[i];
    if (bar.limit > scale) bar.limit = kNan;
    html += BarHtml(report, i, bar, scale);
  }
  return html + "</ul>\n" + (foot.empty() ? "" : "<p class=\"foot\">" + foot + "</p>\n") +
         "</figure>\n";
}

Bar PromptBar(const CompareRow& row) {
  const double tps = row.speed.prompt_tps;
  const bool known = std::isfinite(tps) && tps > 0;
  return {known ? tps : kNan, kNan, kNan, Significant(known ? tps : kNan, 3),
          fmt::format("{}: {} tokens of a prompt per second", row.name,
                      Significant(known ? tps : kNan, 3))};
}

Bar GenerationBar(const CompareRow& row) {
  const BenchReport& speed = row.speed;
  Bar bar;
  if (!std::isfinite(speed.generation_tps) || !(speed.generation_tps > 0)) {
    bar.text = kNoNumber;
    bar.tip = row.name + ": not measured";
    return bar;
  }
  bar.value = speed.generation_tps;
  bar.limit = GenerationLimit(speed);
  bar.text = Significant(bar.value, 3);
  bar.tip = fmt::format("{}: {} tokens/s", row.name, bar.text);
  if (std::isfinite(bar.limit)) {
    const double used = bar.value / bar.limit;
    bar.text += fmt::format(" <small>{}</small>", Percent(used));
    bar.tip += fmt::format(
        "; it reads {} of weights for each token, {} GB/s of the {} GB/s that this machine "
        "reads: {} of the limit of {} tokens/s",
        HumanBytes(static_cast<double>(speed.weight_bytes)), Significant(speed.read_gbps, 3),
        Significant(speed.machine_gbps, 3), Percent(used), Significant(bar.limit, 3));
  }
  return bar;
}

Bar MemoryBar(const CompareRow& row) {
  Bar bar;
  bar.text = bar.tip = kNoNumber;
  if (row.speed.peak_bytes == 0) return bar;
  bar.value = static_cast<double>(row.speed.peak_bytes);
  if (row.speed.weight_bytes > 0) {
    bar.part = std::min(bar.value, static_cast<double>(row.speed.weight_bytes));
  }
  bar.text = HumanBytes(bar.value);
  bar.tip = fmt::format("{}: peak {}, of it weights {}", row.name, bar.text,
                        HumanBytes(std::isfinite(bar.part) ? bar.part : kNan));
  return bar;
}

// ---- Heat maps ----

// Mean square of errors, kept as a sum to be added to.
struct Squares {
  double sum = 0;
  int64_t count = 0;

  void Add(double value) {
    // Tensors that were copied have no error and would only dilute the others'.
    if (!std::isfinite(value) || value <= 0) return;
    sum += value * value;
    ++count;
  }
  double Root() const { return count == 0 ? kNan : std::sqrt(sum / static_cast<double>(count)); }
};

struct HeatMap {
  std::vector<std::string> columns;
  std::vector<std::string> tips;            // one for each column
  std::vector<std::vector<Squares>> cells;  // [row of the report][column]
};

// "attn_q" of "blk.3.attn_q.weight": what the tensors of all layers share.
std::string TensorKind(const LayerError& error) {
  std::string kind = error.tensor;
  const std::string number = fmt::format(".{}.", error.layer);
  const size_t at = kind.find(number);
  if (error.layer >= 0 && at != std::string::npos) kind.erase(0, at + number.size());
  const std::string suffix = ".weight";
  if (kind.size() > suffix.size() && kind.ends_with(suffix)) {
    kind.resize(kind.size() - suffix.size());
  }
  return kind;
}

// Layers in order, then what is outside the layers.
HeatMap MapByLayer(const CompareReport& report) {
  std::map<int, size_t> layers;
  for (const CompareRow& row : report.rows) {
    for (const LayerError& error : row.errors) {
      layers[error.layer < 0 ? std::numeric_limits<int>::max() : error.layer] = 0;
    }
  }
  HeatMap map;
  for (auto& [layer, column] : layers) {
    const bool outside = layer == std::numeric_limits<int>::max();
    column = map.columns.size();
    map.columns.push_back(outside ? "\u2026" : fmt::format("{}", layer));
    map.tips.push_back(outside ? "outside the layers" : fmt::format("layer {}", layer));
  }
  for (const CompareRow& row : report.rows) {
    map.cells.emplace_back(map.columns.size());
    for (const LayerError& error : row.errors) {
      const int layer = error.layer < 0 ? std::numeric_limits<int>::max() : error.layer;
      map.cells.back()[layers[layer]].Add(error.relative_error);
    }
  }
  return map;
}

HeatMap MapByKind(const CompareReport& report) {
  std::map<std::string, size_t> kinds;
  HeatMap map;
  const auto column_of = [&](const LayerError& error) {
    const auto [at, added] = kinds.try_emplace(TensorKind(error), map.columns.size());
    if (added) {
      map.columns.push_back(EscapeHtml(at->first));
      map.tips.push_back(at->first + (error.layer < 0 ? "" : ", all layers"));
    }
    return at->second;
  };
  // Layers first, then the tensors outside, so that the columns follow the model.
  for (const bool outside : {false, true}) {
    for (const CompareRow& row : report.rows) {
      for (const LayerError& error : row.errors) {
        if ((error.layer < 0) == outside && error.relative_error > 0) column_of(error);
      }
    }
  }
  for (const CompareRow& row : report.rows) {
    map.cells.emplace_back(map.columns.size());
    for (const LayerError& error : row.errors) {
      if (error.relative_error > 0) map.cells.back()[column_of(error)].Add(error.relative_error);
    }
  }
  return map;
}

// The range of shades, logarithmic: from 8 to 2 bits errors grow a hundredfold.
struct Shades {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;

  double Of(double error) const {
    if (!(most > least)) return 0.5;
    return std::clamp(std::log(error / least) / std::log(most / least), 0.0, 1.0);
  }
};

Shades RangeOf(const HeatMap& a, const HeatMap& b) {
  Shades shades;
  for (const HeatMap* map : {&a, &b}) {
    for (const auto& row : map->cells) {
      for (const Squares& cell : row) {
        if (cell.count == 0) continue;
        shades.least = std::min(shades.least, cell.Root());
        shades.most = std::max(shades.most, cell.Root());
      }
    }
  }
  return shades;
}

std::string CellHtml(const CompareRow& row, const Squares& cell, const std::string& where,
                     const Shades& shades, bool numbers) {
  if (cell.count == 0) {
    return fmt::format("<td class=\"none\" data-tip=\"{}\"></td>",
                       EscapeHtml(fmt::format("{}, {}: not rounded", row.name, where)));
  }
  const double shade = shades.Of(cell.Root());
  return fmt::format(
      "<td style=\"--v:{:.2f}\" data-tip=\"{}\"><span class=\"{}\">{}</span></td>", shade,
      EscapeHtml(fmt::format("{}, {}: {}", row.name, where, Percent(cell.Root(), 2))),
      numbers ? "cell" : "vh", Significant(cell.Root() * 100, 2));
}

std::string HeatMapHtml(const CompareReport& report, const HeatMap& map, const Shades& shades,
                        const std::string& title, bool numbers) {
  // Where columns are narrow, only every fourth has room for its number.
  const bool many = !numbers && map.columns.size() > 40;
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">\n<table "
      "class=\"heat {1}\" style=\"--columns:{2}\"><caption>{0}</caption>\n<thead><tr><th "
      "class=\"name\" scope=\"col\">version</th>",
      title,
      numbers ? "kinds"
      : many  ? "layers many"
              : "layers",
      map.columns.size());
  for (size_t j = 0; j < map.columns.size(); ++j) {
    html += fmt::format("<th scope=\"col\"{}><span>{}</span></th>",
                        j % 4 != 0 ? " class=\"sparse\"" : "", map.columns[j]);
  }
  html += "<th scope=\"col\" class=\"all\">all</th></tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < report.rows.size(); ++i) {
    const CompareRow& row = report.rows[i];
    Squares all;
    for (const LayerError& error : row.errors) all.Add(error.relative_error);
    if (all.count == 0) continue;
    html += fmt::format("<tr data-row=\"{}\"><th scope=\"row\" class=\"name\">{}{}</th>", i,
                        MethodMark(report, row), EscapeHtml(row.name));
    for (size_t j = 0; j < map.columns.size(); ++j) {
      html += CellHtml(row, map.cells[i][j], map.tips[j], shades, numbers);
    }
    html += fmt::format("<td class=\"all\">{}</td></tr>\n", Percent(all.Root(), 1));
  }
  return html + "</tbody></table>\n</div>\n";
}

}  // namespace

std::string SpeedHtml(const CompareReport& report) {
  std::vector<Bar> prompt, generation, memory;
  double machine = 0;
  for (const CompareRow& row : report.rows) {
    prompt.push_back(PromptBar(row));
    generation.push_back(GenerationBar(row));
    memory.push_back(MemoryBar(row));
    if (std::isfinite(row.speed.machine_gbps)) machine = std::max(machine, row.speed.machine_gbps);
  }
  std::string limit;
  if (machine > 0) {
    limit = fmt::format(
        "Each token reads all weights once, so {} GB/s of memory bandwidth, as measured here, "
        "limit the speed: the tick is that limit, the percentage how much of it is reached. More "
        "than 100\u00A0% means that part of the weights stayed in the processor\u2019s cache.",
        Significant(machine, 3));
  }
  const std::string panels =
      PanelHtml(report, "generation", "Generating", "tokens/s, % of the memory\u2019s limit",
                generation, limit) +
      PanelHtml(report, "prompt", "Reading a prompt", "tokens/s", prompt,
                "A prompt is read many tokens at a time, so arithmetic is the limit, not memory.") +
      PanelHtml(report, "memory", "Memory", "peak while running", memory,
                "The darker part is the weights; the rest is the cache of keys and values, working "
                "space and the program itself.");
  return panels.empty() ? "" : "<div class=\"panels\">\n" + panels + "</div>\n";
}

std::string ErrorsHtml(const CompareReport& report) {
  const HeatMap by_layer = MapByLayer(report);
  const HeatMap by_kind = MapByKind(report);
  const Shades shades = RangeOf(by_layer, by_kind);
  if (shades.most == 0) return "";
  return fmt::format(
             "<p class=\"scale\" aria-hidden=\"true\">{}<span class=\"ramp\"></span>{}</p>\n",
             Percent(shades.least, 2), Percent(shades.most, 1)) +
         HeatMapHtml(report, by_layer, shades, "By layer", false) +
         HeatMapHtml(report, by_kind, shades, "By kind of tensor, in %", true);
}

}  // namespace halftone
