#include "calibration/layerwise.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/cancel.h"
#include "base/error.h"
#include "calibration/gram.h"

namespace halftone {

// The activations of all chunks in one version of the model.
struct LayerwiseCalibration::Stream {
  std::vector<float> residual;  // [chunks * length, width]
  // The input of the stage at hand, where it does not follow from the residual stream alone.
  std::vector<float> input;      // [chunks * rows, InputWidth]
  std::vector<Routing> routing;  // of each chunk's rows, where they are experts'

  float* Residual(int64_t chunk, int64_t tokens, int64_t width) {
    return residual.data() + chunk * tokens * width;
  }
  float* Input(int64_t chunk, int64_t rows, int64_t width) {
    return input.data() + chunk * rows * width;
  }
};

namespace {

// Tokens for each column of the output matrix that are enough to know what meets it: the model has
// to run from end to end for it.
constexpr int64_t kOutputTokensPerColumn = 32;

bool FollowsFromResidual(Stage stage) {
  return stage == Stage::kAttention || stage == Stage::kFeedForward;
}

bool IsRouted(const LayerWeights& layer, Stage stage) {
  return !layer.experts.empty() && (stage == Stage::kFeedForward || stage == Stage::kDown);
}

// The four means of a stage, being summed.
struct Sums {
  explicit Sums(int64_t n) : gram(n), drift(n), held_gram(n), held_drift(n) {}
  GramSum gram, drift, held_gram, held_drift;
};

}  // namespace

LayerwiseCalibration::LayerwiseCalibration(std::shared_ptr<const LoadedModel> model,
                                           ChunkedText chunks, const LayerwiseOptions& options)
    : model_(std::move(model)),
      chunks_(std::move(chunks)),
      options_(options),
      workspace_(model_->weights.parameters, *model_->ops, chunks_.length) {
  if (options_.held_out_chunks >= chunks_.count) {
    FailUsage("{} chunks of calibration text are too few to hold {} back", chunks_.count,
              options_.held_out_chunks);
  }
  const Hyperparameters& p = model_->weights.parameters;
  cache_ = model_->ops->MakeCache({p.heads, p.kv_heads, p.head_dim, 1, chunks_.length}, F32Grid());
}

StageStatistics LayerwiseCalibration::Output() {
  const ModelWeights& weights = model_->weights;
  const Hyperparameters& p = weights.parameters;
  const int64_t tokens = chunks_.length;
  GramSum gram(p.width), held(p.width);
  Progress* progress = options_.progress;
  // Evenly spread over those that may be used, and of those held back.
  const int64_t wanted = std::max<int64_t>(1, kOutputTokensPerColumn * p.width / tokens);
  const int64_t step = std::max<int64_t>(1, chunks_.count / wanted);
  if (progress) progress->Begin("calibrate", chunks_.count);
  for (int64_t c = chunks_.count - 1; c >= 0; c -= step) {
    CheckCancelled(options_.progress);
    ForwardPass pass(weights, *model_->ops, *cache_, workspace_, tokens, 0);
    pass.Embed(chunks_.chunk(c));
    for (const LayerWeights& layer : weights.layers) {
      for (const Stage stage : kStages) {
        pass.Input(layer, stage);
        pass.Apply(layer, stage, 0);
      }
    }
    const float* output = pass.Output(tokens);
    const bool hold = c >= chunks_.count - options_.held_out_chunks;
    (hold ? held : gram).Add(output, output, tokens, *model_->ops);
    if (progress) progress->Advance(chunks_.count - c);
  }
  if (progress) progress->End();
  StageStatistics statistics;
  statistics.gram = gram.Mean();
  statistics.tokens = gram.tokens();
  if (options_.held_out_chunks > 0) statistics.held_gram = held.Mean();
  return statistics;
}

namespace {

// Rows of a stage's input, and the tokens they are of.
struct Rows {
  const float* x = nullptr;
  int64_t count = 0;
  const Routing* routing = nullptr;  // null: row t is token t
  int64_t first = 0;                 // of the routing's rows
};

Rows OfExpert(const float* x, int64_t cols, const Routing& routing, int64_t expert) {
  const int64_t at = routing.begin[static_cast<size_t>(expert)];
  return {x + at * cols, routing.begin[static_cast<size_t>(expert) + 1] - at, &routing, at};
}

// The original's row of the same token and expert as row i; null where there is none.
const float* Partner(const Rows& rows, int64_t i, const float* original, const Routing* routing,
                     int64_t expert, int64_t cols) {
  if (rows.routing == nullptr) return original + i * cols;
  const int64_t token = rows.routing->token[static_cast<size_t>(rows.first + i)];
  const int64_t row = routing == nullptr ? token : routing->RowOf(token, expert);
  return row < 0 ? nullptr : original + row * cols;
}

}  // namespace

StageStatistics LayerwiseCalibration::Measure(Stream& original, Stream& rounded,
                                              const LayerWeights& original_layer,
                                              const LayerWeights& rounded_layer, Stage stage,
                                              int64_t expert) {
  const int64_t tokens = chunks_.length, width = model_->weights.parameters.width;
  ForwardPass pass(model_->weights, *model_->ops, *cache_, workspace_, tokens, 0);
  const int64_t cols = pass.InputWidth(stage);
  const bool follows = FollowsFromResidual(stage);
  Sums sums(cols);
  std::vector<float> x, difference;
  Routing routing;
  for (int64_t c = 0; c < chunks_.count; ++c) {
    CheckCancelled(options_.progress);
    Rows rows{nullptr, tokens};
    if (follows) {
      pass.SetResidual(rounded.Residual(c, tokens, width));
      const float* input = pass.Input(rounded_layer, stage);
      if (expert >= 0) routing = pass.routing();
      rows.x = input;
      if (expert >= 0) rows = OfExpert(input, cols, routing, expert);
    } else if (expert >= 0) {
      const Routing& of_chunk = rounded.routing[static_cast<size_t>(c)];
      rows = OfExpert(rounded.Input(c, of_chunk.rows(), cols), cols, of_chunk, expert);
    } else {
      rows.x = rounded.Input(c, tokens, cols);
    }
    if (rows.count == 0) continue;
    x.assign(rows.x, rows.x + rows.count * cols);
    const bool hold = c >= chunks_.count - options_.held_out_chunks;
    (hold ? sums.held_gram : sums.gram).Add(x.data(), x.data(), rows.count, *model_->ops);
    if (!options_.drift) continue;
    const float* x0 = nullptr;
    const Routing* other = nullptr;
    if (follows) {
      pass.SetResidual(original.Residual(c, tokens, width));
      pass.Input(original_layer, stage);
      x0 = pass.normed();
    } else {
      if (expert >= 0) other = &original.routing[static_cast<size_t>(c)];
      x0 = original.Input(c, other != nullptr ? other->rows() : tokens, cols);
    }
    difference.assign(x.size(), 0.0f);
    for (int64_t i = 0; i < rows.count; ++i) {
      const float* partner = Partner(rows, i, x0, other, expert, cols);
      if (partner == nullptr) continue;
      for (int64_t j = 0; j < cols; ++j) {
        difference[i * cols + j] = partner[j] - x[i * cols + j];
      }
    }
    (hold ? sums.held_drift : sums.drift)
        .Add(difference.data(), x.data(), rows.count, *model_->ops);
  }
  StageStatistics statistics;
  statistics.tokens = sums.gram.tokens();
  if (statistics.tokens == 0) return statistics;
  statistics.gram = sums.gram.Mean();
  if (options_.drift) statistics.drift = sums.drift.Mean();
  if (options_.held_out_chunks > 0 && sums.held_gram.tokens() > 0) {
    statistics.held_gram = sums.held_gram.Mean();
    if (options_.drift) statistics.held_drift = sums.held_drift.Mean();
  }
  return statistics;
}

// The inputs of all stages of a layer at once, as a stream meets them in it.
LayerStatistics LayerwiseCalibration::MeasureLayer(Stream& stream, const LayerWeights& layer) {
  const ModelWeights& weights = model_->weights;
  const int64_t tokens = chunks_.length;
  ForwardPass pass(weights, *model_->ops, *cache_, workspace_, tokens, 0);
  std::vector<std::vector<GramSum>> sums;
  for (const Stage stage : kStages) {
    const size_t matrices = IsRouted(layer, stage) ? layer.experts.size() : 1;
    sums.emplace_back();
    for (size_t m = 0; m < matrices; ++m) sums.back().emplace_back(pass.InputWidth(stage));
  }
  for (int64_t c = 0; c < chunks_.count - options_.held_out_chunks; ++c) {
    CheckCancelled(options_.progress);
    pass.SetResidual(stream.Residual(c, tokens, weights.parameters.width));
    for (size_t s = 0; s < std::size(kStages); ++s) {
      const float* x = pass.Input(layer, kStages[s]);
      for (size_t m = 0; m < sums[s].size(); ++m) {
        Rows rows{x, tokens};
        if (IsRouted(layer, kStages[s])) {
          rows = OfExpert(x, pass.InputWidth(kStages[s]), pass.routing(), static_cast<int64_t>(m));
        }
        if (rows.count > 0) sums[s][m].Add(rows.x, rows.x, rows.count, *model_->ops);
      }
      if (s + 1 < std::size(kStages)) pass.Apply(layer, kStages[s], 0);
    }
  }
  LayerStatistics stages;
  for (const std::vector<GramSum>& stage : sums) {
    stages.emplace_back();
    for (const GramSum& sum : stage) {
      stages.back().emplace_back();
      stages.back().back().tokens = sum.tokens();
      if (sum.tokens() > 0) stages.back().back().gram = sum.Mean();
    }
  }
  return stages;
}

// Takes all chunks of a stream through a stage.
void LayerwiseCalibration::Advance(Stream& stream, const LayerWeights& layer, Stage stage) {
  const ModelWeights& weights = model_->weights;
  const int64_t tokens = chunks_.length, width = weights.parameters.width;
  ForwardPass pass(weights, *model_->ops, *cache_, workspace_, tokens, 0);
  const bool ends_branch = !FollowsFromResidual(stage);
  const int64_t cols = pass.InputWidth(stage);
  const Stage next = stage == Stage::kAttention ? Stage::kAttentionOutput : Stage::kDown;
  const int64_t next_cols = pass.InputWidth(next);
  const bool routed = IsRouted(layer, next);
  const int64_t next_rows = routed ? tokens * weights.parameters.expert.used : tokens;
  if (!ends_branch) {
    stream.input.resize(static_cast<size_t>(chunks_.count * next_rows * next_cols));
    stream.routing.resize(routed ? static_cast<size_t>(chunks_.count) : 0);
  }
  for (int64_t c = 0; c < chunks_.count; ++c) {
    CheckCancelled(options_.progress);
    float* residual = stream.Residual(c, tokens, width);
    pass.SetResidual(residual);
    if (ends_branch) {
      const bool from_experts = IsRouted(layer, stage);
      const Routing* routing = from_experts ? &stream.routing[static_cast<size_t>(c)] : nullptr;
      pass.SetInput(stage, stream.Input(c, from_experts ? routing->rows() : tokens, cols), routing);
    } else {
      pass.Input(layer, stage);
    }
    pass.Apply(layer, stage, 0);
    if (ends_branch) {
      std::copy_n(pass.residual(), tokens * width, residual);
    } else {
      if (routed) stream.routing[static_cast<size_t>(c)] = pass.routing();
      std::copy_n(pass.Input(layer, next), next_rows * next_cols,
                  stream.Input(c, next_rows, next_cols));
    }
  }
}

// Rounds a layer stage by stage; `own` becomes the rounded layer.
void LayerwiseCalibration::RoundStages(Stream& original, Stream& rounded, const LayerWeights& layer,
                                       LayerWeights& own, const LayerwiseVisitor& visitor,
                                       const std::function<void()>& advanced) {
  for (const Stage stage : kStages) {
    const std::vector<std::string> names = TensorNames(layer, stage);
    // Measured when it is asked for, since the statistics of all experts may not fit in memory.
    int64_t measured = -1;
    StageStatistics statistics;
    MeasureInput measure = [&](int64_t matrix) -> const StageStatistics& {
      if (matrix != measured) {
        const int64_t expert = IsRouted(layer, stage) ? matrix : -1;
        statistics = Measure(original, rounded, layer, own, stage, expert);
        measured = matrix;
      }
      return statistics;
    };
    if (std::ranges::all_of(names, visitor.finished)) measure = nullptr;
    std::map<std::string, Tensor> tensors;
    for (const std::string& name : names) tensors[name] = visitor.round(name, measure);
    std::vector<int64_t> rows;
    VisitLinears(layer, stage,
                 [&](const Linear& linear, int64_t) { rows.push_back(linear.weight->rows); });
    size_t next = 0;
    VisitLinears(own, stage, [&](Linear& linear, int64_t) {
      linear.weight = PrepareLinear(*model_->ops, tensors.at(linear.name), linear, rows[next++]);
    });
    Advance(rounded, own, stage);
    if (options_.drift) Advance(original, layer, stage);
    advanced();
  }
}

void LayerwiseCalibration::Run(const Tensor* embedding, const LayerwiseVisitor& visitor) {
  const ModelWeights& weights = model_->weights;
  Ops& ops = *model_->ops;
  const int64_t tokens = chunks_.length, width = weights.parameters.width;
  Stream original, rounded;
  const auto begin = [&](const Matrix& matrix, Stream& stream) {
    stream.residual.resize(static_cast<size_t>(chunks_.count * tokens * width));
    for (int64_t c = 0; c < chunks_.count; ++c) {
      EmbedTokens(weights, ops, matrix, chunks_.chunk(c), stream.Residual(c, tokens, width));
    }
  };
  if (options_.drift) begin(*weights.embedding, original);
  if (embedding != nullptr) {
    begin(*ops.Prepare(*embedding), rounded);
  } else {
    begin(*weights.embedding, rounded);
  }

  Progress* progress = options_.progress;
  const auto total = static_cast<int64_t>(weights.layers.size() * std::size(kStages));
  if (progress) progress->Begin("round layer by layer", total);
  int64_t done = 0;
  const auto advanced = [&] {
    if (progress) progress->Advance(++done);
  };
  const auto finished = [&](const LayerWeights& layer) {
    return std::ranges::all_of(kStages, [&](const Stage stage) {
      return std::ranges::all_of(TensorNames(layer, stage), visitor.finished);
    });
  };
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    const LayerWeights& layer = weights.layers[l];
    model_->checkpoint.GiveBackPages();  // of the layer before
    if (!visitor.transform) {
      LayerWeights own = FormOf(layer);
      RoundStages(original, rounded, layer, own, visitor, advanced);
      continue;
    }
    std::optional<LayerStatistics> stages;
    if (!finished(layer)) stages = MeasureLayer(rounded, layer);
    const LayerWeights transformed =
        visitor.transform(static_cast<int64_t>(l), stages ? &*stages : nullptr);
    LayerWeights own = FormOf(transformed);
    RoundStages(original, rounded, stages ? transformed : layer, own, visitor, advanced);
  }
  if (progress) progress->End();
}

}  // namespace halftone
