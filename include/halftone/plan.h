// Bits against memory, before anything is quantized or loaded.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone {

struct PlanOptions {
  uint64_t memory = 0;  // bytes to fit into; 0: this machine's RAM and VRAM
  int64_t context = 4096;
  std::string kv_grid = "f16";  // what keys and values are rounded to: one of KvGrids()
};

struct PlanRow {
  std::string grid;  // "fp16", "q4_k_m"
  double bits_per_weight = 0;
  uint64_t weight_bytes = 0;  // for a model file: exactly the size of the file quantize writes
  uint64_t kv_cache_bytes = 0;
  uint64_t activation_bytes = 0;
  uint64_t total_bytes = 0;
  bool fits_ram = false;
  bool fits_vram = false;  // false without a GPU
  bool recommended = false;
};

struct PlanReport {
  std::string model;  // the path, or "7B"
  int64_t parameters = 0;
  bool exact = false;  // sizes are of real files, not estimates
  int64_t context = 0;
  std::string kv_grid;
  uint64_t ram_bytes = 0;     // of this machine, or PlanOptions::memory
  uint64_t vram_bytes = 0;    // 0: no GPU
  std::vector<PlanRow> rows;  // from most to fewest bits
  std::string advice;         // one sentence
};

// `model` is a file or folder, or a size such as "7B" or "350M". Throws Error (kUsage) if it is
// neither.
PlanReport Plan(const std::string& model, const PlanOptions& options);

}  // namespace halftone
