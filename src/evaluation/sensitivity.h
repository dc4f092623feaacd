// How much a model's predictions suffer when single tensors are rounded: what bits are worth where.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "engine/chunks.h"
#include "engine/session.h"
#include "halftone/progress.h"

namespace halftone {

struct Sensitivity {
  // By tensor: the mean KL divergence in nats of the outputs, that tensor alone being replaced.
  std::map<std::string, double> divergence;
  // By tensor of linear layers and output matrix (for tied ones the embedding): E[x^2] of each
  // input column, for experts of each expert's, [experts, cols].
  std::map<std::string, std::vector<float>> mean_square;
};

// Runs the chunks through the model, and for each of the rounded tensors (GGUF dialect; linear
// layers, the embedding and the output) once more from its layer on with that tensor in its place.
// The second half of each chunk is scored. `model` is changed meanwhile and restored. Throws Error
// (kCancelled).
Sensitivity MeasureSensitivity(LoadedModel& model, const std::vector<Tensor>& rounded,
                               const ChunkedText& chunks, ThreadPool& pool, Progress* progress);

}  // namespace halftone
