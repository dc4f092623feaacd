// Fine-tuning a quantized model: its weights stay as they are, on whatever grid, and an adapter of
// low rank is trained beside them (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "halftone/evaluate.h"
#include "halftone/precision.h"
#include "halftone/progress.h"

namespace halftone {

struct FinetunePoint {
  int64_t step = 0;  // from 1 on
  double loss = 0;   // mean of the step's tokens that count, before the step; nats
  double norm = 0;   // of all derivatives together, before clipping
  double learning_rate = 0;
  int64_t tokens = 0;  // of the step, those that do not count included
  double seconds = 0;
};

struct HeldOutPoint {
  int64_t step = 0;  // 0: before training
  double loss = 0;   // mean of the tokens that count, nats
};

// Whether all intermediate results of a pass are kept for the way back.
enum class Checkpointing : uint8_t {
  kAuto,  // kept where they take at most a quarter of the memory that is free
  kOn,    // computed again, layer by layer: a third of the speed against most of the memory
  kOff,   // kept
};

struct FinetuneOptions {
  // Text, or JSON lines: {"messages": [...]}, {"conversations": [...]}, {"prompt", "completion"},
  // of which what the assistant says counts, or {"text"}.
  std::string data;
  std::string held_out;        // to evaluate on, likewise; or empty
  double held_out_share = 0;   // without such a file: this share of the examples is kept apart
  int64_t evaluate_every = 0;  // steps; 0: ten times in all
  int64_t context = 512;       // tokens of an example at most; longer ones are cut
  bool refuse_long = false;    // or refused

  int64_t rank = 16;
  double alpha = 32;                 // the adapter's product is scaled by alpha / rank
  std::vector<std::string> targets;  // "q_proj", "down_proj"; empty: all linear layers
  // Share of what meets the adapter that each step leaves out, at random by the seed (peft's
  // lora_dropout); less than 1. Evaluations leave nothing out.
  double dropout = 0;
  std::string adapter;  // goes on from this one, whose shape then counts; or empty
  // Has A say the same for all inputs of a group whose weights share an offset. Merging into the
  // grids that the weights are on then moves offsets and keeps codes. Throws Error (kUsage) where
  // no grid has offsets: q4_1, q5_1, q2_k, q4_k and q5_k have.
  bool mergeable = false;

  double epochs = 1;
  int64_t steps = 0;       // in place of epochs
  int64_t batch = 8;       // examples in a step
  int64_t accumulate = 1;  // such batches in a step
  double learning_rate = 2e-4;
  double warmup = 0.03;  // share of the steps in which the rate rises; then a cosine
  double weight_decay = 0;
  double clip = 1;        // of the norm of the derivatives; 0: none
  bool moments8 = false;  // AdamW's moments in 8 bits, by blocks, as bitsandbytes
  Checkpointing checkpointing = Checkpointing::kAuto;
  uint64_t seed = 0;

  // What products with the weights do with their inputs and with derivatives; kInt8: as kF32.
  Activations activations = Activations::kBf16;
  Precision precision;       // the base model rounded while loading
  bool resume = false;       // goes on where an earlier run with the same options was interrupted
  double save_seconds = 60;  // between states that a run can be resumed from; 0: after each step
  // Of the numbers in the adapter's files: f32, f16 or bf16. They are trained in f32 whichever.
  std::string adapter_type = "f32";
  int threads = 0;
  Progress* progress = nullptr;
};

struct FinetuneReport {
  std::string output;
  int64_t examples = 0;
  int64_t held_out_examples = 0;
  int64_t truncated = 0;  // examples that were longer than the context
  int64_t dropped = 0;    // examples without a token that counts
  int64_t trained = 0;    // values of the adapter
  int64_t tokens = 0;     // that were trained on
  double seconds = 0;     // of the steps, evaluations apart
  double tokens_per_second = 0;
  uint64_t peak_bytes = 0;
  bool checkpointing = false;
  std::vector<FinetunePoint> points;
  std::vector<HeldOutPoint> held_out;
};

// Trains an adapter for the model and writes it to the folder `output`: as peft loads it
// (adapter_config.json, adapter_model.safetensors), as llama.cpp does (adapter.gguf), the curve of
// the loss (loss.svg) and its numbers (training.json). The folder appears when all is done; until
// then <output>.partial holds what a run can be resumed from. Throws Error: kUsage for data without
// an example, kFormat naming file and line, kUnsupported, naming the step, where the loss is no
// number any more, with the state of the last good step kept.
FinetuneReport Finetune(const std::string& model, const std::string& output,
                        const FinetuneOptions& options);

// The curve as a picture, and everything as JSON.
std::string FinetuneSvg(const FinetuneReport& report);
std::string FinetuneJson(const FinetuneReport& report);

struct MergeOptions {
  std::string adapter;    // peft's folder, or a GGUF adapter
  std::string grid;       // what the merged weights go to, as quantize has it; empty: f16
  std::string method;     // how, likewise; empty: rtn, best with calibration text
  std::string container;  // empty: the first that holds the grid
  std::string calibration;
  // Other grids to tell the cost of, without keeping a file; "same" is each matrix's own.
  std::vector<std::string> compare = {"f16", "q8_0", "same"};
  std::string text;  // to measure on; empty: the text that comes with the library
  int64_t context = 512;
  int64_t chunks = 8;
  int threads = 0;
  Progress* progress = nullptr;
};

struct MergeChoice {
  std::string grid;
  std::string method;
  int64_t moved = 0;  // matrices whose codes stayed as they were (FinetuneOptions::mergeable)
  uint64_t file_bytes = 0;
  EvaluateReport quality;  // against the model with the adapter beside its weights
  bool kept = false;
};

struct MergeReport {
  std::string output;
  std::vector<MergeChoice> choices;  // the one that was kept first
  double seconds = 0;
};

// Writes the model with the adapter put into its weights, and measures what that and other choices
// cost. Throws Error.
MergeReport Merge(const std::string& model, const std::string& output, const MergeOptions& options);

}  // namespace halftone
