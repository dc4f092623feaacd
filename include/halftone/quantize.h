// Quantizing and converting model files.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "halftone/progress.h"

namespace halftone {

struct QuantizeOptions {
  // A grid or a preset, "q4_0", "q4_k_m"; "same": with an adapter, each tensor's own; empty: by one
  // of the targets below.
  std::string grid;
  // Instead of a grid: the grid of each tensor is chosen by what it costs, measured on calibration
  // text, so that the whole is at most so large. At most one is not 0. Only for GGUF files.
  uint64_t target_bytes = 0;      // the file
  double target_bits = 0;         // bits per weight of the tensors
  uint64_t target_memory = 0;     // weights, keys and values in f16, activations
  int64_t target_context = 4096;  // tokens that target_memory holds
  // A method, or a transform and a method: "gptq", "awq+gptq". Empty: best where there is
  // calibration text, imatrix where there is an imatrix file, else rtn.
  std::string method;
  std::string container;  // empty: the first that holds the grid
  std::string imatrix;    // an imatrix file of either generation, or empty
  std::string adapter;    // a LoRA adapter that is put into the weights first, or empty
  // Text to measure activations on, or chats in JSON lines; empty: the text that comes with the
  // library, where the method needs one.
  std::string calibration;
  int64_t context = 512;             // tokens in a chunk of it
  int64_t calibration_chunks = 128;  // at most; 0: all
  // Rounds columns from the most to the least active one (GPTQ's desc_act), for methods with error
  // feedback and containers that can keep the order.
  bool act_order = false;
  // Goes on where an earlier run with the same input and options was interrupted.
  bool resume = false;
  // Bytes of weights in one file at most; the rest goes into further ones (a tensor is never cut).
  // 0: a GGUF file is one, folders are split at 5 GB. The report's output is then the first part.
  uint64_t split_bytes = 0;
  int threads = 0;
  Progress* progress = nullptr;  // not owned, may be null
};

struct QuantizedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::string source_grid;
  std::string grid;
  uint64_t bytes = 0;
  // Root mean square of the change, relative to the root mean square of the weights; 0 if copied.
  double relative_error = 0;
  // The same of the layer's output on the calibration text, where the method looks at it: of this
  // tensor, and of what round to nearest would have made of it. 0: not measured.
  double output_error = 0;
  double output_error_rtn = 0;
  double damping = 0;  // of the Gram matrix, relative to its mean diagonal; 0: none
  double seconds = 0;
  // Why the grid is not the one asked for ("172 columns are no multiple of 256"), or what the
  // method did otherwise than usual; or empty.
  std::string note;
};

struct QuantizeReport {
  std::string output;  // what to open: of a split file the first part
  std::string grid;
  std::string method;
  std::string container;
  uint64_t file_bytes = 0;
  uint64_t tensor_bytes = 0;
  double bits_per_weight = 0;
  double seconds = 0;
  // Tensors whose codes are the source's: the adapter moved the offsets of their groups.
  int64_t moved = 0;
  std::vector<QuantizedTensor> tensors;  // in file order
};

// Quantizes the model at `input` (a .gguf file or a Hugging Face folder) to a new file. The output
// appears whole or not at all. Throws Error.
QuantizeReport Quantize(const std::string& input, const std::string& output,
                        const QuantizeOptions& options);

// What Quantize would do: the same report with exact sizes, no errors measured, nothing written. A
// target is chosen for by measuring, as Quantize does.
QuantizeReport PlanQuantize(const std::string& input, const QuantizeOptions& options);

struct ConvertOptions {
  std::string container;     // empty: gguf
  bool requantize = false;   // allow what is not lossless
  uint64_t split_bytes = 0;  // as of QuantizeOptions
  int threads = 0;
  Progress* progress = nullptr;
};

// What a conversion did to the numbers. `tensors` has relative errors of whatever is not the same
// to the bit; method and grid are empty.
struct ConvertReport : QuantizeReport {
  int64_t exact = 0;        // tensors whose values are the same to the bit
  int64_t reexpressed = 0;  // on another grid with the same codes and scales
  int64_t rounded = 0;      // anew, with --requantize
  // Root mean square of the change of all weights, relative to their root mean square.
  double relative_change = 0;
};

// Writes the model in another container. Where the target cannot hold a tensor's grid, the tensor
// goes to a grid that it can hold and that says the same codes and scales, if its data have one;
// else throws Error (kUsage) that names it and says that --requantize rounds it anew (to the
// nearest grid that the target holds).
ConvertReport Convert(const std::string& input, const std::string& output,
                      const ConvertOptions& options);

struct ImatrixOptions {
  int64_t context = 512;
  int64_t chunks = 0;           // 0: all
  bool process_output = false;  // also for output.weight
  std::string adapter;          // a LoRA adapter beside the weights, or empty
  int threads = 0;
  Progress* progress = nullptr;
};

struct ImatrixReport {
  int64_t tokens = 0;
  int64_t chunks = 0;
  int64_t entries = 0;
  double seconds = 0;
};

// Measures the mean square of the activations that meet each weight while the model reads the text
// file, and writes it as a GGUF importance matrix that llama.cpp reads.
ImatrixReport ComputeImatrix(const std::string& model, const std::string& text_file,
                             const std::string& output, const ImatrixOptions& options);

}  // namespace halftone
