// The renderings of a comparison for programs: JSON with everything, CSV (RFC 4180: CRLF, fields
// with a comma, quote or line break in double quotes, quotes doubled) with one row for each
// variant. A row's measurements have the same names in both. What was not measured, or is not
// finite, is null in JSON and an empty field in CSV.

#include <cmath>
#include <string>
#include <string_view>

#include "base/json.h"
#include "halftone/compare.h"
#include "pipeline/report_parts.h"

namespace halftone {
namespace {

OrderedJson Number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

void AddEstimate(const std::string& key, const Estimate& estimate, bool measured,
                 OrderedJson& out) {
  out[key] = measured ? Number(estimate.value) : OrderedJson(nullptr);
  out[key + "_error"] = measured ? Number(estimate.error) : OrderedJson(nullptr);
}

// What is one value for each row: the columns of the CSV file.
OrderedJson Measurements(const CompareRow& row) {
  OrderedJson out = OrderedJson::object();
  out["name"] = row.name;
  out["grid"] = row.grid;
  out["method"] = row.method;
  out["is_reference"] = row.is_reference;
  out["pareto"] = row.pareto;
  out["file_bytes"] = row.file_bytes;
  out["bits_per_weight"] = Number(row.bits_per_weight);
  out["quantize_seconds"] = Number(row.quantize_seconds);

  const EvaluateReport& quality = row.quality;
  const auto against = [&](double value) {
    return quality.has_reference ? Number(value) : OrderedJson(nullptr);
  };
  AddEstimate("perplexity", quality.perplexity, true, out);
  AddEstimate("reference_perplexity", quality.reference_perplexity, quality.has_reference, out);
  AddEstimate("kld_mean", quality.kld_mean, quality.has_reference, out);
  out["kld_median"] = against(quality.kld_median);
  out["kld_p99"] = against(quality.kld_p99);
  out["kld_max"] = against(quality.kld_max);
  AddEstimate("same_top1", quality.same_top1, quality.has_reference, out);
  AddEstimate("rms_delta_p", quality.rms_delta_p, quality.has_reference, out);
  out["tokens"] = quality.tokens;
  out["evaluated_chunks"] = quality.chunks;
  out["evaluate_seconds"] = Number(quality.seconds);

  const BenchReport& speed = row.speed;
  out["prompt_tps"] = Number(speed.prompt_tps);
  out["generation_tps"] = Number(speed.generation_tps);
  out["load_seconds"] = Number(speed.load_seconds);
  out["peak_bytes"] = speed.peak_bytes;
  out["weight_bytes"] = speed.weight_bytes;
  out["read_gbps"] = Number(speed.read_gbps);
  out["machine_gbps"] = Number(speed.machine_gbps);
  out["bench_threads"] = speed.threads;
  return out;
}

std::string CsvField(const OrderedJson& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

std::string DumpReport(const CompareReport& report, int indent) {
  OrderedJson json = OrderedJson::object();
  json["model"] = report.model;
  json["architecture"] = report.architecture;
  json["parameters"] = report.parameters;
  json["text_file"] = report.text_file;
  json["context"] = report.context;
  json["chunks"] = report.chunks;
  json["threads"] = report.threads;
  json["seconds"] = Number(report.seconds);
  json["version"] = report.version;
  json["note"] = report.note;
  OrderedJson& rows = json["rows"] = OrderedJson::array();
  for (const CompareRow& row : report.rows) {
    OrderedJson out = Measurements(row);
    OrderedJson& errors = out["errors"] = OrderedJson::array();
    for (const LayerError& error : row.errors) {
      errors.push_back({{"layer", error.layer},
                        {"tensor", error.tensor},
                        {"relative_error", Number(error.relative_error)}});
    }
    OrderedJson& samples = out["samples"] = OrderedJson::array();
    for (const Sample& sample : row.samples) {
      samples.push_back({{"prompt", sample.prompt}, {"completion", sample.completion}});
    }
    rows.push_back(std::move(out));
  }
  // A model's text may end within a character and a file name may be any bytes: replace, not throw.
  return json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string CompareJson(const CompareReport& report) { return DumpReport(report, 1) + "\n"; }

std::string CompareCsv(const CompareReport& report) {
  std::string csv;
  const OrderedJson columns = Measurements(CompareRow{});
  for (const auto& [key, value] : columns.items()) {
    if (!csv.empty()) csv += ',';
    csv += key;
  }
  csv += "\r\n";
  for (const CompareRow& row : report.rows) {
    const OrderedJson values = Measurements(row);
    std::string line;
    for (const auto& [key, value] : values.items()) {
      if (key != columns.begin().key()) line += ',';
      line += CsvField(value);
    }
    csv += line + "\r\n";
  }
  return csv;
}

}  // namespace halftone
