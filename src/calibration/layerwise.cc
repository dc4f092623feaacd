#include "calibration/layerwise.h"

#include <algorithm>

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
  cache_ = model_->ops->MakeCache({p.heads, p.kv_heads, p.head_dim, 1, chunks_.length});
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

void LayerwiseCalibration::Run(const Tensor* embedding, const RoundWeight& round,
                               const IsFinished& finished) {
  const ModelWeights& weights = model_->weights;
  const Hyperparameters& p = weights.parameters;
  Ops& ops = *model_->ops;
  const int64_t tokens = chunks_.length;
  Stream original, rounded;
  const auto begin = [&](const Matrix& matrix, Stream& stream) {
    stream.residual.resize(static_cast<size_t>(chunks_.count * tokens * p.width));
    for (int64_t c = 0; c < chunks_.count; ++c) {
      ops.EmbedRows(matrix, chunks_.chunk(c), stream.Residual(c, tokens, p.width));
    }
  };
  if (options_.drift) begin(*weights.embedding, original);
  if (embedding != nullptr) {
    begin(*ops.Prepare(*embedding), rounded);
  } else {
    begin(*weights.embedding, rounded);
  }

  // Takes all chunks of a stream through a stage.
  const auto advance = [&](Stream& stream, const LayerWeights& layer, Stage stage) {
    ForwardPass pass(weights, ops, *cache_, workspace_, tokens, 0);
    const bool ends_branch = !FollowsFromResidual(stage);
    const int64_t cols = pass.InputWidth(stage);
    const Stage next = stage == Stage::kAttention ? Stage::kAttentionOutput : Stage::kDown;
    const int64_t next_cols = pass.InputWidth(next);
    if (!ends_branch) {
      stream.input.resize(static_cast<size_t>(chunks_.count * tokens * next_cols));
    }
    for (int64_t c = 0; c < chunks_.count; ++c) {
      CheckCancelled();
      float* residual = stream.Residual(c, tokens, p.width);
      pass.SetResidual(residual);
      if (ends_branch) {
        pass.SetInput(stage, stream.Input(c, tokens, cols));
      } else {
        pass.Input(layer, stage);
      }
      pass.Apply(layer, stage, 0);
      if (ends_branch) {
        std::copy_n(pass.residual(), tokens * p.width, residual);
      } else {
        std::copy_n(pass.Input(layer, next), tokens * next_cols,
                    stream.Input(c, tokens, next_cols));
      }
    }
  };

  Progress* progress = options_.progress;
  const auto total = static_cast<int64_t>(weights.layers.size() * std::size(kStages));
  if (progress) progress->Begin("round layer by layer", total);
  int64_t done = 0;
  for (const LayerWeights& layer : weights.layers) {
    LayerWeights own = Borrowed(layer);
    for (const Stage stage : kStages) {
      const auto members = LinearsOf(stage);
      StageStatistics statistics;
      const bool known = std::ranges::all_of(
          members, [&](const auto member) { return finished((layer.*member).name); });
      if (!known) statistics = Measure(original, rounded, layer, own, stage);
      for (const auto member : members) {
        (own.*member).weight =
            ops.Prepare(round((layer.*member).name, known ? nullptr : &statistics));
      }
      advance(rounded, own, stage);
      if (options_.drift) advance(original, layer, stage);
      if (progress) progress->Advance(++done);
    }
  }
  if (progress) progress->End();
}

}  // namespace halftone
