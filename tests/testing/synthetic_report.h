// A comparison as it might come out for a model of 135 million weights, from 8 to 2 bits, with and
// without importances: for the tests of the report, which need no model. Everything is made up from
// smooth laws (divergence falls about fourfold for each bit) and a fixed sequence of noise.

#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "halftone/compare.h"

namespace halftone {

class SyntheticReport {
 public:
  static CompareReport Make() { return SyntheticReport().report_; }

 private:
  struct Variant {
    const char* grid;
    const char* method;
    double bits;     // stored, for each weight
    double quality;  // effective bits, which the method and the grid's shape decide
  };

  SyntheticReport() {
    report_.model = "/home/someone/models/SmolLM2-135M-Instruct";
    report_.architecture = "llama";
    report_.text_file = "text/prose-eval.txt";
    report_.version = "0.1.0";
    report_.note =
        "The reference is the model as published, in bf16; all versions were made from it.";
    report_.parameters = 134515008;
    report_.context = 512;
    report_.chunks = 16;
    report_.threads = 8;
    report_.seconds = 1463;
    AddReference();
    for (const Variant& v : std::vector<Variant>{{"q8_0", "rtn", 8.50, 8.1},
                                                 {"q6_k", "rtn", 6.57, 6.5},
                                                 {"q5_k_m", "rtn", 5.72, 5.45},
                                                 {"q5_k_m", "imatrix", 5.72, 5.6},
                                                 {"q4_k_m", "rtn", 4.99, 4.45},
                                                 {"q4_k_m", "imatrix", 4.99, 4.72},
                                                 {"q4_k_m", "gptq", 4.99, 4.98},
                                                 {"iq4_xs", "rtn", 4.58, 4.2},
                                                 {"iq4_xs", "imatrix", 4.58, 4.46},
                                                 {"q4_0", "rtn", 4.72, 3.75},
                                                 {"q4_0", "imatrix", 4.72, 4.05},
                                                 {"q3_k_m", "rtn", 4.21, 3.3},
                                                 {"q3_k_m", "imatrix", 4.21, 3.65},
                                                 {"iq3_xxs", "imatrix", 3.53, 3.1},
                                                 {"q2_k", "rtn", 3.48, 2.0},
                                                 {"q2_k", "imatrix", 3.48, 2.6},
                                                 {"iq2_xs", "imatrix", 2.92, 2.15}}) {
      AddVariant(v);
    }
    MarkPareto();
  }

  // Uniform in [0, 1): Knuth's MMIX constants.
  double Noise() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 11) * 0x1p-53;
  }

  void AddSpeed(double bits, double factor, BenchReport& speed) {
    speed.weight_bytes = static_cast<uint64_t>(report_.parameters * bits / 8);
    speed.machine_gbps = 21.4 + 0.3 * Noise();
    speed.generation_tps =
        1 / (speed.weight_bytes / (speed.machine_gbps * 1e9 * 0.82) + 0.0021 * factor);
    speed.read_gbps = speed.generation_tps * speed.weight_bytes / 1e9;
    speed.prompt_tps = 1180 / factor * (0.96 + 0.08 * Noise());
    speed.load_seconds = 0.04 + 0.02 * Noise();
    speed.peak_bytes = speed.weight_bytes + 71'000'000 + static_cast<uint64_t>(3e6 * Noise());
    speed.threads = 8;
  }

  void AddSamples(CompareRow& row, int keep) {
    static const std::vector<std::vector<std::string>> kTexts = {
        {"The capital of France is",
         " Paris, a city on the river Seine that has been the seat of the country's government "
         "since the Middle Ages. It is known for its museums, its cafes and the Eiffel Tower, "
         "which was built for the World's Fair of 1889.",
         " a large city with a long history. It lies in the north of the country and many people "
         "visit it each year to see the churches and the river."},
        {"def fibonacci(n):",
         "\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n\nfor "
         "i in range(10):\n    print(fibonacci(i))",
         " = 1\n    a, b = 0, 1\n    while a < n:\n        a, b = b, a + b\n    return a"},
        {"Once upon a time, in a village between two mountains,",
         " there lived an old clockmaker who could hear the hours before they struck. Every "
         "evening the children came to his door and asked him what tomorrow would sound like.",
         " there was a girl. She was a very good girl and she was very good at being a good girl "
         "and everybody said that she was good."}};
    for (const auto& text : kTexts) {
      std::string completion = text[1];
      if (keep >= 0) {
        const auto at = std::min(completion.size(), static_cast<size_t>(keep * (0.6 + Noise())));
        if (at < completion.size()) completion = completion.substr(0, at) + text[2];
      }
      row.samples.push_back({text[0], completion});
    }
  }

  void AddReference() {
    CompareRow row;
    row.name = "bf16";
    row.grid = "bf16";
    row.is_reference = true;
    row.file_bytes = 270'900'000;
    row.bits_per_weight = 16;
    row.quality.chunks = report_.chunks;
    row.quality.tokens = report_.chunks * 255;
    row.quality.perplexity = {18.412, 0.512};
    AddSpeed(16, 1, row.speed);
    AddSamples(row, -1);
    report_.rows.push_back(row);
  }

  void AddVariant(const Variant& v) {
    CompareRow row;
    row.name = std::string(v.grid) + " " + v.method;
    row.grid = v.grid;
    row.method = v.method;
    row.bits_per_weight = v.bits;
    row.file_bytes = static_cast<uint64_t>(report_.parameters * v.bits / 8 + 1.8e6);
    row.quantize_seconds = (v.method == std::string("gptq") ? 190 : 6) * (1 + Noise());

    const double kld = 28 * std::pow(4.0, -v.quality) * (0.95 + 0.1 * Noise());
    EvaluateReport& quality = row.quality;
    quality = report_.rows[0].quality;
    quality.has_reference = true;
    quality.reference_perplexity = quality.perplexity;
    quality.perplexity.value *= std::exp(kld * 0.85);
    quality.kld_mean = {kld, kld * 0.021};
    quality.kld_median = kld * 0.46;
    quality.kld_p99 = kld * 9.4;
    quality.kld_max = kld * 41;
    quality.same_top1 = {1 / (1 + 0.62 * std::sqrt(kld)), 0.0043};
    quality.rms_delta_p = {0.21 * std::sqrt(kld), 0.0011};
    AddSpeed(v.bits, 1 + 0.1 * Noise() + (v.grid[0] == 'i' ? 0.5 : 0), row.speed);
    AddErrors(v, row);
    AddSamples(row, static_cast<int>(7 / std::sqrt(kld)));
    report_.rows.push_back(row);
  }

  void AddErrors(const Variant& v, CompareRow& row) {
    static const char* kKinds[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                   "ffn_gate", "ffn_up", "ffn_down"};
    const double base = 1.1 * std::pow(2.0, -v.bits);
    row.errors.push_back({-1, "token_embd.weight", base * 0.7});
    row.errors.push_back({-1, "output_norm.weight", 0});
    for (int layer = 0; layer < 30; ++layer) {
      row.errors.push_back({layer, "blk." + std::to_string(layer) + ".attn_norm.weight", 0});
      for (int kind = 0; kind < 7; ++kind) {
        const double shape = 1 + 0.25 * std::cos(layer * 0.4) - (kind == 2 || kind == 6 ? 0.4 : 0);
        row.errors.push_back(
            {layer, "blk." + std::to_string(layer) + "." + kKinds[kind] + ".weight",
             base * shape * (0.9 + 0.2 * Noise()) * (v.method == std::string("rtn") ? 1 : 1.08)});
      }
    }
  }

  void MarkPareto() {
    for (CompareRow& row : report_.rows) {
      row.pareto = true;
      for (const CompareRow& other : report_.rows) {
        const bool smaller = other.file_bytes <= row.file_bytes;
        const bool closer = other.quality.kld_mean.value < row.quality.kld_mean.value;
        if (smaller && closer) row.pareto = false;
      }
    }
  }

  CompareReport report_;
  uint64_t state_ = 1;
};

}  // namespace halftone
