#include "calibration/layerwise.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "calibration/gram.h"

namespace halftone {

// The activations of all chunks in one version of the model.
struct LayerwiseCalibration::Stream {
  std::vector<float> residual;  // [chunks * length, width]
  // The input of the stage at hand, where it does not follow from the residual stream alone.
  std::vector<float> input;  // [chunks * length, InputWidth]

  float* Residual(int64_t chunk, int64_t tokens, int64_t width) {
    return residual.data() + chunk * tokens * width;
  }
  float* Input(int64_t chunk, int64_t tokens, int64_t width) {
    return input.data() + chunk * tokens * width;
  }
};

namespace {

// Tokens for each column of the output matrix that are enough to know what meets it: the model has
// to run from end to end for it.
constexpr int64_t kOutputTokensPerColumn = 32;

bool FollowsFromResidual(Stage stage) {
  return stage == Stage::kAttention || stage == Stage::kFeedForward;
}

LayerWeights Borrowed(const LayerWeights& layer) {
  LayerWeights copy;
  copy.attention_norm = layer.attention_norm;
  copy.feed_forward_norm = layer.feed_forward_norm;
  for (const Stage stage : kStages) {
    for (const auto member : LinearsOf(stage)) {
      copy.*member = {(layer.*member).name, nullptr, (layer.*member).bias};
    }
  }
  return copy;
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

void LayerwiseCalibration::CheckCancelled() const {
  if (options_.progress && options_.progress->Cancelled()) {
    throw Error(Error::Kind::kCancelled, model_->checkpoint.path + ": calibration cancelled");
  }
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
    CheckCancelled();
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

StageStatistics LayerwiseCalibration::Measure(Stream& original, Stream& rounded,
                                              const LayerWeights& original_layer,
                                              const LayerWeights& rounded_layer, Stage stage) {
  const ModelWeights& weights = model_->weights;
  const int64_t tokens = chunks_.length, width = weights.parameters.width;
  ForwardPass pass(weights, *model_->ops, *cache_, workspace_, tokens, 0);
  const int64_t cols = pass.InputWidth(stage);
  const auto input = [&](Stream& stream, const LayerWeights& layer, int64_t chunk) {
    if (!FollowsFromResidual(stage))
      return static_cast<const float*>(stream.Input(chunk, tokens, cols));
    pass.SetResidual(stream.Residual(chunk, tokens, width));
    return pass.Input(layer, stage);
  };
  Sums sums(cols);
  std::vector<float> x(static_cast<size_t>(tokens * cols)), difference;
  for (int64_t c = 0; c < chunks_.count; ++c) {
    CheckCancelled();
    const bool hold = c >= chunks_.count - options_.held_out_chunks;
    std::copy_n(input(rounded, rounded_layer, c), tokens * cols, x.data());
    (hold ? sums.held_gram : sums.gram).Add(x.data(), x.data(), tokens, *model_->ops);
    if (!options_.drift) continue;
    const float* x0 = input(original, original_layer, c);
    difference.resize(x.size());
    for (size_t i = 0; i < x.size(); ++i) difference[i] = x0[i] - x[i];
    (hold ? sums.held_drift : sums.drift).Add(difference.data(), x.data(), tokens, *model_->ops);
  }
  StageStatistics statistics;
  statistics.gram = sums.gram.Mean();
  statistics.tokens = sums.gram.tokens();
  if (options_.drift) statistics.drift = sums.drift.Mean();
  if (options_.held_out_chunks > 0) {
    statistics.held_gram = sums.held_gram.Mean();
    if (options_.drift) statistics.held_drift = sums.held_drift.Mean();
  }
  return statistics;
}

// The inputs of all stages of a layer at once, as a stream meets them in it.
std::vector<StageStatistics> LayerwiseCalibration::MeasureLayer(Stream& stream,
                                                                const LayerWeights& layer) {
  const ModelWeights& weights = model_->weights;
  const int64_t tokens = chunks_.length;
  ForwardPass pass(weights, *model_->ops, *cache_, workspace_, tokens, 0);
  std::vector<GramSum> sums;
  for (const Stage stage : kStages) sums.emplace_back(pass.InputWidth(stage));
  for (int64_t c = 0; c < chunks_.count - options_.held_out_chunks; ++c) {
    CheckCancelled();
    pass.SetResidual(stream.Residual(c, tokens, weights.parameters.width));
    for (size_t s = 0; s < std::size(kStages); ++s) {
      const float* x = pass.Input(layer, kStages[s]);
      sums[s].Add(x, x, tokens, *model_->ops);
      if (s + 1 < std::size(kStages)) pass.Apply(layer, kStages[s], 0);
    }
  }
  std::vector<StageStatistics> stages;
  for (const GramSum& sum : sums) {
    stages.emplace_back();
    stages.back().gram = sum.Mean();
    stages.back().tokens = sum.tokens();
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
  if (!ends_branch) stream.input.resize(static_cast<size_t>(chunks_.count * tokens * next_cols));
  for (int64_t c = 0; c < chunks_.count; ++c) {
    CheckCancelled();
    float* residual = stream.Residual(c, tokens, width);
    pass.SetResidual(residual);
    if (ends_branch) {
      pass.SetInput(stage, stream.Input(c, tokens, cols));
    } else {
      pass.Input(layer, stage);
    }
    pass.Apply(layer, stage, 0);
    if (ends_branch) {
      std::copy_n(pass.residual(), tokens * width, residual);
    } else {
      std::copy_n(pass.Input(layer, next), tokens * next_cols, stream.Input(c, tokens, next_cols));
    }
  }
}

// Rounds a layer stage by stage; `own` becomes the rounded layer.
void LayerwiseCalibration::RoundStages(Stream& original, Stream& rounded, const LayerWeights& layer,
                                       LayerWeights& own, const LayerwiseVisitor& visitor,
                                       const std::function<void()>& advanced) {
  for (const Stage stage : kStages) {
    const auto members = LinearsOf(stage);
    StageStatistics statistics;
    const bool known = std::ranges::all_of(
        members, [&](const auto member) { return visitor.finished((layer.*member).name); });
    if (!known) statistics = Measure(original, rounded, layer, own, stage);
    for (const auto member : members) {
      (own.*member).weight =
          model_->ops->Prepare(visitor.round((layer.*member).name, known ? nullptr : &statistics));
    }
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
      ops.EmbedRows(matrix, chunks_.chunk(c), stream.Residual(c, tokens, width));
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
      return std::ranges::all_of(LinearsOf(stage), [&](const auto member) {
        return visitor.finished((layer.*member).name);
      });
    });
  };
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    const LayerWeights& layer = weights.layers[l];
    if (!visitor.transform) {
      LayerWeights own = Borrowed(layer);
      RoundStages(original, rounded, layer, own, visitor, advanced);
      continue;
    }
    std::optional<std::vector<StageStatistics>> stages;
    if (!finished(layer)) stages = MeasureLayer(rounded, layer);
    const LayerWeights transformed =
        visitor.transform(static_cast<int64_t>(l), stages ? &*stages : nullptr);
    LayerWeights own = Borrowed(transformed);
    RoundStages(original, rounded, stages ? transformed : layer, own, visitor, advanced);
  }
  if (progress) progress->End();
}

}  // namespace halftone
