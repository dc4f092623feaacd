// The page's table: one line for each row of the report, one column for each measurement. Each cell
// carries its number in data-v, by which the script sorts; the best of a column is marked.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

enum class Best { kNone, kLeast, kMost };

struct Column {
  std::string group;
  std::string key;   // CSS class and JSON name
  std::string head;  // HTML
  std::string help;  // what the heading's tooltip says
  Best best;
  std::function<double(const CompareRow&)> value;      // NaN: not measured
  std::function<std::string(const CompareRow&)> text;  // HTML
};

// "18.62 <small>±0.31</small>": the error is what it is only next to its value.
std::string WithError(const std::string& value, const std::string& error) {
  if (error == kNoNumber || error == "0") return value;
  return fmt::format("{} <small>\u00B1{}</small>", value, error);
}

// Both with the decimals that give the value three significant digits.
std::string EstimateText(const Estimate& estimate) {
  const double size = std::abs(estimate.value);
  if (!std::isfinite(size) || size == 0 || size < 1e-5) return Significant(estimate.value, 2);
  const int decimals = std::clamp(2 - static_cast<int>(std::floor(std::log10(size))), 2, 7);
  return WithError(Decimals(estimate.value, decimals), Decimals(estimate.error, decimals));
}

std::string PercentText(const Estimate& estimate) {
  return WithError(Decimals(estimate.value * 100, 1), Decimals(estimate.error * 100, 1));
}

double Against(const CompareRow& row, double value) {
  return row.quality.has_reference ? value : kNan;
}

double Measured(double value) { return value > 0 ? value : kNan; }

// One unit for a whole column of bytes.
struct Unit {
  double bytes;
  const char* name;
};

Unit ChooseUnit(const CompareReport& report) {
  double largest = 0;
  for (const CompareRow& row : report.rows) {
    largest =
        std::max(largest, static_cast<double>(std::max(row.file_bytes, row.speed.peak_bytes)));
  }
  return largest >= 1e10 ? Unit{1e9, "GB"} : Unit{1e6, "MB"};
}

std::string InUnit(double bytes, const Unit& unit) {
  if (!std::isfinite(bytes)) return std::string(kNoNumber);
  const double value = bytes / unit.bytes;
  return Decimals(value, unit.bytes == 1e9 ? 2 : value < 1000 ? 1 : 0);
}

void AddSizeColumns(const Unit& unit, std::vector<Column>& columns) {
  columns.push_back(
      {"Size", "file_bytes", fmt::format("file<br>{}", unit.name),
       "Size of the file. 1 MB is a million bytes.", Best::kLeast,
       [](const CompareRow& row) { return Measured(row.file_bytes); },
       [unit](const CompareRow& row) { return InUnit(Measured(row.file_bytes), unit); }});
  columns.push_back(
      {"Size", "bits_per_weight", "bits per<br>weight",
       "All bytes of tensors, scales included, times 8, over the number of weights.", Best::kLeast,
       [](const CompareRow& row) { return Measured(row.bits_per_weight); },
       [](const CompareRow& row) { return Decimals(Measured(row.bits_per_weight), 2); }});
}

// A column of the evaluation against the reference.
Column QualityColumn(const char* key, const char* head, const char* help, Best best,
                     std::function<double(const EvaluateReport&)> value,
                     std::function<std::string(const EvaluateReport&)> text) {
  return {"Distance from the reference",
          key,
          head,
          help,
          best,
          [value](const CompareRow& row) { return Against(row, value(row.quality)); },
          [value, text](const CompareRow& row) {
            return std::isfinite(Against(row, value(row.quality))) ? text(row.quality)
                                                                   : std::string(kNoNumber);
          }};
}

void AddQualityColumns(std::vector<Column>& columns) {
  using Quality = EvaluateReport;
  columns.push_back({"Text", "perplexity", "perplexity",
                     "How surprised the model is by the text: lower is better. With its standard "
                     "error, which is mostly the text\u2019s and shared by all rows.",
                     Best::kLeast,
                     [](const CompareRow& row) { return Measured(row.quality.perplexity.value); },
                     [](const CompareRow& row) {
                       if (!(row.quality.perplexity.value > 0)) return std::string(kNoNumber);
                       return EstimateText(row.quality.perplexity);
                     }});
  columns.push_back(QualityColumn(
      "kld_mean", "mean KL<br>divergence",
      "Mean Kullback-Leibler divergence of the predictions from the reference\u2019s, in nats: 0 "
      "is "
      "identical.",
      Best::kLeast, [](const Quality& q) { return q.kld_mean.value; },
      [](const Quality& q) { return EstimateText(q.kld_mean); }));
  columns.push_back(QualityColumn(
      "kld_median", "median", "Median KL divergence: half of the positions are closer.",
      Best::kLeast, [](const Quality& q) { return q.kld_median; },
      [](const Quality& q) { return Significant(q.kld_median, 3); }));
  columns.push_back(QualityColumn(
      "kld_p99", "99th<br>percentile",
      "The KL divergence that one position in a hundred exceeds: the bad moments.", Best::kLeast,
      [](const Quality& q) { return q.kld_p99; },
      [](const Quality& q) { return Significant(q.kld_p99, 3); }));
  columns.push_back(QualityColumn(
      "same_top1", "same top<br>token, %",
      "Positions at which the likeliest next token is the reference\u2019s.", Best::kMost,
      [](const Quality& q) { return q.same_top1.value; },
      [](const Quality& q) { return PercentText(q.same_top1); }));
  columns.push_back(QualityColumn(
      "rms_delta_p", "RMS<br>\u0394p, %",
      "Root mean square change of the probability given to the token that truly follows.",
      Best::kLeast, [](const Quality& q) { return q.rms_delta_p.value; },
      [](const Quality& q) { return PercentText(q.rms_delta_p); }));
}

void AddSpeedColumns(const Unit& unit, std::vector<Column>& columns) {
  const auto speed = [](double tps) { return Significant(Measured(tps), 3); };
  columns.push_back({"Tokens/s", "prompt_tps", "prompt", "Tokens of a prompt read in a second.",
                     Best::kMost,
                     [](const CompareRow& row) { return Measured(row.speed.prompt_tps); },
                     [speed](const CompareRow& row) { return speed(row.speed.prompt_tps); }});
  columns.push_back({"Tokens/s", "generation_tps", "gener\u00ADation",
                     "Tokens generated in a second, one by one.", Best::kMost,
                     [](const CompareRow& row) { return Measured(row.speed.generation_tps); },
                     [speed](const CompareRow& row) { return speed(row.speed.generation_tps); }});
  columns.push_back(
      {"Cost", "peak_bytes", fmt::format("peak<br>memory<br>{}", unit.name),
       "Largest resident memory while running.", Best::kLeast,
       [](const CompareRow& row) { return Measured(row.speed.peak_bytes); },
       [unit](const CompareRow& row) { return InUnit(Measured(row.speed.peak_bytes), unit); }});
  columns.push_back({"Cost", "quantize_seconds", "to<br>quantize",
                     "Time it took to quantize this version.", Best::kLeast,
                     [](const CompareRow& row) {
                       return row.is_reference ? kNan : Measured(row.quantize_seconds);
                     },
                     [](const CompareRow& row) {
                       return HumanSeconds(row.is_reference ? kNan
                                                            : Measured(row.quantize_seconds));
                     }});
}

std::vector<Column> Columns(const CompareReport& report) {
  const Unit unit = ChooseUnit(report);
  std::vector<Column> columns;
  AddSizeColumns(unit, columns);
  AddQualityColumns(columns);
  AddSpeedColumns(unit, columns);
  return columns;
}

// The best value of a column among the rows that are no reference; NaN if fewer than two have one.
double BestValue(const CompareReport& report, const Column& column) {
  double best = kNan;
  int count = 0;
  for (const CompareRow& row : report.rows) {
    const double value = row.is_reference ? kNan : column.value(row);
    if (!std::isfinite(value)) continue;
    ++count;
    const bool better = column.best == Best::kMost ? value > best : value < best;
    if (count == 1 || better) best = value;
  }
  return count < 2 || column.best == Best::kNone ? kNan : best;
}

std::string SortButton(const std::string& key, const std::string& head) {
  return fmt::format("<button type=\"button\" class=\"sort\" data-key=\"{}\">{}</button>", key,
                     head);
}

std::string HeadHtml(const std::vector<Column>& columns) {
  std::string groups, heads;
  for (size_t i = 0; i < columns.size();) {
    size_t span = 1;
    while (i + span < columns.size() && columns[i + span].group == columns[i].group) ++span;
    groups += fmt::format("<th class=\"group\" colspan=\"{}\" scope=\"colgroup\">{}</th>", span,
                          columns[i].group);
    for (size_t j = i; j < i + span; ++j) {
      heads += fmt::format("<th scope=\"col\" class=\"num{}\" data-tip=\"{}\">{}</th>",
                           j == i ? " first" : "", EscapeHtml(columns[j].help),
                           SortButton(columns[j].key, columns[j].head));
    }
    i += span;
  }
  return fmt::format(
      "<thead>\n<tr><th class=\"name\" scope=\"col\" rowspan=\"2\">{}</th>"
      "<th scope=\"col\" rowspan=\"2\" class=\"method\">{}</th>{}</tr>\n<tr>{}</tr>\n</thead>\n",
      SortButton("name", "name"), SortButton("method", "method"), groups, heads);
}

std::string RowHtml(const CompareReport& report, const CompareRow& row, size_t index,
                    const std::vector<Column>& columns, const std::vector<double>& best) {
  const std::string method = row.is_reference ? "reference" : row.method;
  std::string html = fmt::format(
      "<tr data-row=\"{}\" class=\"{}{}{}{}\"><th scope=\"row\" class=\"name\" data-v=\"{}\">{}{}{}"
      "</th><td class=\"method\" data-v=\"{}\">{}</td>",
      index, MethodClass(report, row), row.is_reference ? " reference" : "",
      row.pareto ? " pareto" : "", &row == FindHighlights(report).suggested ? " suggested" : "",
      EscapeHtml(row.name), MethodMark(report, row), EscapeHtml(row.name),
      row.pareto && !row.is_reference ? "<span class=\"front\" data-tip=\"On the Pareto front: no "
                                        "other version is both smaller "
                                        "and closer to the reference\">front</span>"
                                      : "",
      EscapeHtml(method), EscapeHtml(method));
  for (size_t i = 0; i < columns.size(); ++i) {
    const double value = columns[i].value(row);
    const bool is_best = !row.is_reference && value == best[i];
    const bool first = i == 0 || columns[i].group != columns[i - 1].group;
    html += fmt::format("<td class=\"num{}{}\" data-key=\"{}\" data-v=\"{}\">{}{}</td>",
                        first ? " first" : "", is_best ? " best" : "", columns[i].key,
                        std::isfinite(value) ? fmt::format("{}", value) : "", columns[i].text(row),
                        is_best ? "<span class=\"vh\"> (best)</span>" : "");
  }
  return html + "</tr>\n";
}

}  // namespace

std::string TableHtml(const CompareReport& report) {
  const std::vector<Column> columns = Columns(report);
  std::vector<double> best;
  for (const Column& column : columns) best.push_back(BestValue(report, column));
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of all "
      "measurements\">\n<table id=\"table\" class=\"numbers\">\n<caption class=\"vh\">All "
      "measurements, one line for each version of the model</caption>\n";
  html += HeadHtml(columns) + "<tbody>\n";
  for (size_t i = 0; i < report.rows.size(); ++i) {
    html += RowHtml(report, report.rows[i], i, columns, best);
  }
  return html + "</tbody>\n</table>\n</div>\n";
}

}  // namespace halftone
