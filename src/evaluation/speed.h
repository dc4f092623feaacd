// How fast a loaded model runs.

#pragma once

#include <memory>

#include "engine/session.h"
#include "halftone/evaluate.h"

namespace halftone {

// Measures prompt and generation speed of a loaded model: medians of options.repeats runs of
// options.prompt and options.generate tokens, the latter after options.depth others, and of
// options.sequences together. Fills prompt_tps, generation_tps, sequences_tps, weight_bytes,
// kv_cache_bytes (of one sequence), read_gbps and threads.
void MeasureSpeed(const std::shared_ptr<const LoadedModel>& model, const BenchOptions& options,
                  BenchReport& report);

}  // namespace halftone
