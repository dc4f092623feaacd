// Choosing a grid for each tensor so that the file has a given size and loses as little as it can.
//
// What a grid costs a tensor is the KL divergence of the model's output that it causes, which is
// proportional to the mean square of its rounding errors, weighted by the inputs, as long as both
// are small. So the divergence is measured once for each tensor, with that tensor alone rounded to
// a grid of about the bits to be spent, and carried over to the other grids by their errors.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "evaluation/sensitivity.h"
#include "halftone/quantize.h"
#include "method/allocation.h"
#include "pipeline/text_input.h"
#include "pipeline/rewrite.h"
#include "pipeline/source.h"

namespace halftone {

// The most bytes that the file may have by options.target_*; of target_memory what keys, values and
// activations leave. Throws Error (kUsage) if they leave nothing.
uint64_t TargetFileBytes(const Source& source, const QuantizeOptions& options);

class GridAllocator {
 public:
  // Measures. `jobs`: of those that are rounded the grid is up for choice, among the grids that
  // `container` stores. Reads some of the calibration text. Throws Error.
  GridAllocator(std::shared_ptr<const Source> source, const std::vector<Job>& jobs,
                const Container& container, const TextInput& calibration, double bits,
                const QuantizeOptions& options);

  // The grid of each job (null: not up for choice), all together at most `budget` bytes. Throws
  // Error (kUsage) if the smallest take more.
  std::vector<const Grid*> Choose(uint64_t budget) const;

 private:
  struct Item {
    size_t job = 0;
    std::vector<const Grid*> grids;
    std::vector<AllocationOption> options;
  };

  void AddCandidates(const std::vector<Job>& jobs, const Container& container);
  Tensor Probe(const Job& job, const Grid& grid);
  std::vector<float> SampledRows(const Job& job);
  double Error(std::span<const float> values, int64_t cols, const Grid& grid,
               const std::vector<float>& mean_square, bool weighted);

  std::shared_ptr<const Source> source_;
  ThreadPool pool_;
  size_t jobs_;
  std::vector<Item> items_;
};

}  // namespace halftone
