// A layer of the model under a transform: its weights scaled, the inverse folded into what comes
// before them, so that it computes what it did.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "calibration/layerwise.h"
#include "engine/session.h"
#include "method/transform.h"
#include "pipeline/rewrite.h"

namespace halftone {

// Values by name (GGUF dialect), row-major, rows in GGUF's order: the weights of the linear layers,
// and of norms and biases those that changed, as the file's grid will hold them.
using TransformedValues = std::map<std::string, std::vector<float>>;

// `stages` parallels kStages. Jobs of the plan say which grid each weight will be rounded to.
TransformedValues TransformValues(const RewritePlan& plan, const Transform& transform,
                                  const ModelWeights& model, int64_t layer,
                                  const LayerStatistics& stages, ThreadPool& pool);

// The layer with these norms and biases, and, where they are among the values, these weights.
LayerWeights LayerWith(const TransformedValues& values, const ModelWeights& model, int64_t layer,
                       Ops& ops);

// Names (GGUF dialect) of the norms and biases of the layer that transforms change and the model
// has.
std::vector<std::string> FoldedNames(const RewritePlan& plan, int64_t layer);

}  // namespace halftone
