// Calibration layer by layer, for methods that want to know what a weight meets in the model as far
// as it is rounded already.
//
// Two residual streams of all calibration tokens run through the model side by side: the original's
// and the rounded one's. At each stage (the linear layers that share an input) the statistics of
// the inputs are measured, the caller rounds the weights, and the rounded stream goes on through
// them. Memory: the streams and the inputs of one stage; of the model one layer at a time.
//
// Each expert of a mixture is measured on the tokens that the rounded stream sends to it. Where the
// original's stream does not send such a token there, its drift counts as none.
//
// Where the caller transforms layers before rounding them, all stages of a layer are measured
// first, in the layer as it was; both streams then run through the transformed layer.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/chunks.h"
#include "engine/session.h"
#include "halftone/progress.h"

namespace halftone {

struct LayerwiseOptions {
  bool drift = false;           // keep the original's stream too and measure E[(x0 - x) x^T]
  int64_t held_out_chunks = 0;  // of the last chunks: they are measured apart
  Progress* progress = nullptr;
};

// As method/method.h's Statistics, owned.
struct StageStatistics {
  std::vector<float> gram, drift, held_gram, held_drift;  // [cols, cols] each, or empty
  int64_t tokens = 0;
};

// What meets a tensor: of one that holds the matrices of experts, what meets that matrix; 0 for
// others. A reference lives until the next call.
using MeasureInput = std::function<const StageStatistics&(int64_t matrix)>;

// Rounds the weight of that name (GGUF dialect) and returns the rounded tensor. `measure` is null
// where nothing can be measured because the whole stage is finished.
using RoundWeight = std::function<Tensor(const std::string& name, const MeasureInput& measure)>;
// Whether the weight needs no statistics any more.
using IsFinished = std::function<bool(const std::string& name)>;
// What meets each stage of a layer: one entry, or one for each expert.
using LayerStatistics = std::vector<std::vector<StageStatistics>>;
// Returns layer `layer` in another form that computes the same. `stages` parallels kStages; null
// where nothing was measured because the whole layer is finished: then what is returned needs no
// matrices.
using TransformLayer = std::function<LayerWeights(int64_t layer, const LayerStatistics* stages)>;

struct LayerwiseVisitor {
  RoundWeight round;
  IsFinished finished;
  TransformLayer transform = nullptr;  // null: layers stay as they are
};

class LayerwiseCalibration {
 public:
  // `model` must be in the GGUF dialect. Throws Error (kUsage) if held_out_chunks leaves no chunk.
  LayerwiseCalibration(std::shared_ptr<const LoadedModel> model, ChunkedText chunks,
                       const LayerwiseOptions& options);

  // What meets the output matrix in the original model, measured on some of the chunks.
  StageStatistics Output();

  // Every linear layer of every layer, in the order of the stages. `embedding`: the rounded token
  // embedding if it is rounded, else null.
  void Run(const Tensor* embedding, const LayerwiseVisitor& visitor);

 private:
  struct Stream;

  // `expert`: -1 where the stage's input is not routed.
  StageStatistics Measure(Stream& original, Stream& rounded, const LayerWeights& original_layer,
                          const LayerWeights& rounded_layer, Stage stage, int64_t expert);
  LayerStatistics MeasureLayer(Stream& stream, const LayerWeights& layer);
  void Advance(Stream& stream, const LayerWeights& layer, Stage stage);
  void RoundStages(Stream& original, Stream& rounded, const LayerWeights& layer, LayerWeights& own,
                   const LayerwiseVisitor& visitor, const std::function<void()>& advanced);

  std::shared_ptr<const LoadedModel> model_;
  ChunkedText chunks_;
  LayerwiseOptions options_;
  std::unique_ptr<KvCache> cache_;  // of one layer
  Workspace workspace_;
};

}  // namespace halftone
