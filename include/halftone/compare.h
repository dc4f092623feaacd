// The main job: quantize a model several ways, run each, show what each costs.

#pragma once

#include <string>
#include <vector>

#include "halftone/evaluate.h"
#include "halftone/progress.h"
#include "halftone/quantize.h"

namespace halftone {

struct CompareOptions {
  std::vector<std::string> grids;    // grids and presets; empty: a selection from 8 to 2 bits
  std::vector<std::string> methods;  // empty: rtn, and imatrix if there is calibration text
  std::string text_file;             // evaluation text, or chats in JSON lines
  std::string calibration;           // calibration text, likewise, or empty
  std::string output_dir;            // report.html, report.json, report.csv and the quantized files
  bool keep_files = false;           // keep the quantized models
  int64_t context = 512;
  int64_t chunks = 8;
  std::vector<std::string> prompts;  // for sample completions; empty: a few built in
  int64_t sample_tokens = 48;
  int threads = 0;
  std::string note;  // shown in the report's head, for example about the reference
  Progress* progress = nullptr;
};

struct LayerError {
  int layer = 0;  // -1: outside the layers
  std::string tensor;
  double relative_error = 0;
};

struct Sample {
  std::string prompt;
  std::string completion;
};

struct CompareRow {
  std::string name;  // "q4_k_m imatrix"; the reference's row comes first
  std::string grid;
  std::string method;
  bool is_reference = false;
  uint64_t file_bytes = 0;
  double bits_per_weight = 0;
  double quantize_seconds = 0;
  EvaluateReport quality;
  BenchReport speed;
  std::vector<LayerError> errors;
  std::vector<Sample> samples;
  bool pareto = false;  // no other row is both smaller and closer to the reference
};

struct CompareReport {
  std::string model;
  std::string architecture;
  std::string text_file;
  std::string version;
  std::string note;
  int64_t parameters = 0;
  int64_t context = 0;
  int64_t chunks = 0;
  int threads = 0;
  double seconds = 0;
  std::vector<CompareRow> rows;
};

// Quantizes, evaluates and benchmarks; writes report.html, report.json and report.csv to
// output_dir. Throws Error.
CompareReport Compare(const std::string& model, const CompareOptions& options);

// The three renderings of a report.
std::string CompareHtml(const CompareReport& report);  // self-contained, no network
std::string CompareJson(const CompareReport& report);
std::string CompareCsv(const CompareReport& report);

}  // namespace halftone
