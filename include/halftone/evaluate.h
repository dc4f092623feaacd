// What quantization costs: quality and speed.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "halftone/activations.h"
#include "halftone/precision.h"
#include "halftone/progress.h"

namespace halftone {

struct EvaluateOptions {
  std::string reference;          // the model to compare with, or empty for perplexity alone
  std::string reference_adapter;  // as `adapter` below
  int64_t context = 512;
  int64_t chunks = 0;  // 0: all that the text holds
  int threads = 0;
  // Of the model, not of the reference:
  std::string adapter;  // a LoRA adapter beside its weights: a peft folder or a .gguf; or empty
  Precision precision;
  Activations activations = Activations::kF32;
  // What the model's keys and values are rounded to, one of KvGrids(); the reference's are not
  // rounded. f32: what is measured is the weights.
  std::string kv_grid = "f32";
  Progress* progress = nullptr;
};

// A mean and its standard error.
struct Estimate {
  double value = 0;
  double error = 0;
};

struct EvaluateReport {
  int64_t chunks = 0;
  int64_t tokens = 0;   // scored
  Estimate perplexity;  // as llama-perplexity: the second half of each chunk is scored
  double seconds = 0;

  // Against the reference, where one was given.
  bool has_reference = false;
  Estimate reference_perplexity;
  Estimate kld_mean;  // Kullback-Leibler divergence from the reference, nats
  double kld_median = 0;
  double kld_p99 = 0;
  double kld_max = 0;
  Estimate same_top1;    // fraction of positions with the same likeliest token, 0 to 1
  Estimate rms_delta_p;  // root mean square change of the true token's probability, 0 to 1
};

// Runs the model, and the reference in lock-step, over the text file: plain text, or chats in JSON
// lines, which go through the model's chat template. Throws Error: kUsage if the text is shorter
// than two chunks or the two vocabularies differ, kFormat naming file and line for a broken line.
EvaluateReport Evaluate(const std::string& model, const std::string& text_file,
                        const EvaluateOptions& options);

// Logits after each token, f32 [tokens, vocabulary].
std::vector<float> EvaluateLogits(const std::string& model, const std::vector<int32_t>& tokens,
                                  int threads, int64_t* vocabulary, const Precision& precision = {},
                                  const std::string& kv_grid = "f32",
                                  const std::string& adapter = "");

struct BenchOptions {
  int64_t prompt = 512;
  int64_t generate = 128;
  int repeats = 3;
  int64_t depth = 0;      // tokens in the cache before the generated ones
  int64_t sequences = 1;  // more: these also generate together, a token each in every step
  int threads = 0;
  Precision precision;
  Activations activations = Activations::kInt8;
  std::string kv_grid = "f16";  // what keys and values are rounded to: one of KvGrids()
  Progress* progress = nullptr;
};

struct BenchReport {
  double prompt_tps = 0;        // tokens/s, median of the repeats
  double generation_tps = 0;    // tokens/s, median of the repeats
  double sequences_tps = 0;     // tokens/s of all sequences together; 0 for a single one
  double load_seconds = 0;      // from opening to ready
  uint64_t peak_bytes = 0;      // peak resident memory of this process
  uint64_t weight_bytes = 0;    // bytes of weights that each generated token reads
  uint64_t kv_cache_bytes = 0;  // of the keys and values of all tokens that were measured with
  double read_gbps = 0;         // weight_bytes * generation_tps, 10^9 bytes/s
  double machine_gbps = 0;      // sequential read bandwidth of this machine, measured now
  int threads = 0;
};

BenchReport Bench(const std::string& model, const BenchOptions& options);

// Sequential read bandwidth of memory in 10^9 bytes/s with this many threads. Throws Error
// (kCancelled) where `progress`, which may be null, says so.
double MeasureReadBandwidth(int threads, Progress* progress = nullptr);

}  // namespace halftone
