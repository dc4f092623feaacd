// Reading one text with a reference and any number of models, chunk by chunk.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/chunks.h"
#include "engine/session.h"
#include "halftone/evaluate.h"

namespace halftone {

// Runs all models over the chunks in lock-step, so that the reference's logits are computed once
// for all of them and never stored. reference may be null. Keys and values of the models are kept
// on `cache_grid`, those of the reference as they are. Returns a report for each model, without
// chunks and seconds of its own. Progress counts tokens of all models.
std::vector<EvaluateReport> EvaluateInLockStep(
    const std::shared_ptr<const LoadedModel>& reference,
    const std::vector<std::shared_ptr<const LoadedModel>>& models, const Grid& cache_grid,
    const ChunkedText& chunks, int threads, Progress* progress);

}  // namespace halftone
