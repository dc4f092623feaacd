#include "evaluation/sensitivity.h"

#include <algorithm>

#include "base/cancel.h"
#include "base/error.h"
#include "evaluation/quality.h"

namespace halftone {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";

// Parts of a rounded tensor and the places of the model's own that they take.
struct Probe {
  std::string name;
  std::vector<std::pair<std::shared_ptr<Matrix>, std::shared_ptr<Matrix>*>> parts;
  int64_t layer = 0;  // that it takes effect in; -1: the embedding; layers: the output
  QualityMeter meter;

  void Swap() {
    for (auto& [matrix, place] : parts) std::swap(matrix, *place);
  }
};

class Prober {
 public:
  Prober(LoadedModel& model, const ChunkedText& chunks, ThreadPool& pool)
      : weights_(model.weights),
        ops_(*model.ops),
        chunks_(chunks),
        pool_(pool),
        workspace_(weights_.parameters, ops_, chunks.length),
        scored_(chunks.length / 2) {
    const Hyperparameters& p = weights_.parameters;
    cache_ = ops_.MakeCache({p.heads, p.kv_heads, p.head_dim, 1, chunks.length}, F32Grid());
    before_.resize(weights_.layers.size() + 1);
    reference_.resize(static_cast<size_t>(scored_ * p.vocabulary));
    logits_.resize(reference_.size());
  }

  void Add(const Tensor& rounded) {
    Probe probe;
    probe.name = rounded.name;
    const auto layers = static_cast<int64_t>(weights_.layers.size());
    if (rounded.name == kEmbedding) {
      probe.parts.emplace_back(ops_.Prepare(rounded), &weights_.embedding);
      probe.layer = -1;
    } else if (rounded.name == weights_.output.name && weights_.output.weight != nullptr) {
      probe.parts.emplace_back(ops_.Prepare(rounded), &weights_.output.weight);
      probe.layer = layers;
    }
    for (int64_t l = 0; l < layers && probe.parts.empty(); ++l) {
      for (const Stage stage : kStages) {
        VisitLinears(weights_.layers[l], stage, [&](Linear& linear, int64_t) {
          if (linear.name != rounded.name) return;
          probe.parts.emplace_back(PrepareLinear(ops_, rounded, linear, linear.weight->rows),
                                   &linear.weight);
          probe.layer = l;
        });
      }
    }
    if (probe.parts.empty()) return;  // nothing that the model runs
    probes_.push_back(std::move(probe));
  }

  size_t probes() const { return probes_.size(); }

  // The chunk through the model as it is, then once for each probe.
  template <class Advanced>
  void Run(int64_t chunk, const Advanced& advanced) {
    const auto tokens = chunks_.chunk(chunk);
    ForwardPass pass(weights_, ops_, *cache_, workspace_, chunks_.length, 0);
    pass.Embed(tokens);
    Finish(pass, 0, reference_.data(), true);
    // Logits at position i predict token i + 1; the last position predicts nothing.
    const int64_t first = chunks_.length - scored_;
    const auto next = tokens.subspan(first + 1, scored_ - 1);
    const int64_t vocabulary = weights_.parameters.vocabulary;
    const auto layers = static_cast<int64_t>(weights_.layers.size());
    for (Probe& probe : probes_) {
      probe.Swap();
      if (probe.layer < 0) {
        pass.Embed(tokens);
      } else {
        pass.SetResidual(before_[probe.layer].data());
      }
      Finish(pass, std::clamp<int64_t>(probe.layer, 0, layers), logits_.data(), false);
      probe.Swap();
      probe.meter.Add(logits_.data(), reference_.data(), next, vocabulary, pool_);
      advanced();
    }
  }

  Sensitivity Result() const {
    Sensitivity result;
    for (const Probe& probe : probes_) {
      result.divergence[probe.name] = probe.meter.Report().kld_mean.value;
    }
    for (const auto& [name, squares] : squares_) {
      std::vector<float>& mean = result.mean_square[name];
      const size_t cols = squares.sum.size() / squares.tokens.size();
      for (size_t i = 0; i < squares.sum.size(); ++i) {
        // An expert that no token met: every column is worth the same.
        const auto tokens = static_cast<double>(squares.tokens[i / cols]);
        mean.push_back(tokens > 0 ? static_cast<float>(squares.sum[i] / tokens) : 1.0f);
      }
    }
    return result;
  }

 private:
  // From layer `from` to the logits of the scored half.
  void Finish(ForwardPass& pass, int64_t from, float* logits, bool original) {
    const int64_t width = weights_.parameters.width;
    for (size_t l = from; l <= weights_.layers.size(); ++l) {
      if (original) before_[l].assign(pass.residual(), pass.residual() + chunks_.length * width);
      if (l == weights_.layers.size()) break;
      const LayerWeights& layer = weights_.layers[l];
      for (const Stage stage : kStages) {
        const float* x = pass.Input(layer, stage);
        if (original) Square(pass, x, stage, layer);
        pass.Apply(layer, stage, 0);
      }
    }
    if (original) {
      const bool tied = weights_.output.weight == nullptr;
      AddSquares(pass.Output(chunks_.length), chunks_.length, width,
                 squares_[tied ? kEmbedding : weights_.output.name], 0, 1);
    }
    MultiplyHead(weights_, ops_, pass.Output(scored_), scored_, logits);
  }

  void Square(const ForwardPass& pass, const float* x, Stage stage, const LayerWeights& layer) {
    const int64_t cols = pass.InputWidth(stage);
    VisitLinears(layer, stage, [&](const Linear& linear, int64_t expert) {
      Squares& squares = squares_[linear.name];
      if (expert < 0) {
        if (linear.first_row == 0) AddSquares(x, chunks_.length, cols, squares, 0, 1);
        return;
      }
      const auto& begin = pass.routing().begin;
      const int64_t at = begin[static_cast<size_t>(expert)];
      AddSquares(x + at * cols, begin[static_cast<size_t>(expert) + 1] - at, cols, squares, expert,
                 std::ssize(layer.experts));
    });
  }

  // Sums of x^2 of each of a tensor's matrices.
  struct Squares {
    std::vector<double> sum;      // [matrices, cols]
    std::vector<int64_t> tokens;  // [matrices]
  };

  static void AddSquares(const float* x, int64_t tokens, int64_t cols, Squares& squares,
                         int64_t matrix, int64_t matrices) {
    squares.sum.resize(static_cast<size_t>(matrices * cols));
    squares.tokens.resize(static_cast<size_t>(matrices));
    double* sums = squares.sum.data() + matrix * cols;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < cols; ++c) {
        sums[c] += static_cast<double>(x[t * cols + c]) * x[t * cols + c];
      }
    }
    squares.tokens[static_cast<size_t>(matrix)] += tokens;
  }

  ModelWeights& weights_;
  Ops& ops_;
  const ChunkedText& chunks_;
  ThreadPool& pool_;
  Workspace workspace_;
  const int64_t scored_;
  std::unique_ptr<KvCache> cache_;  // of one layer: a chunk passes each layer whole
  std::vector<Probe> probes_;
  std::vector<std::vector<float>> before_;  // the residual stream before each layer, and after
  std::vector<float> reference_, logits_;   // [scored_, vocabulary]
  std::map<std::string, Squares> squares_;
};

}  // namespace

Sensitivity MeasureSensitivity(LoadedModel& model, const std::vector<Tensor>& rounded,
                               const ChunkedText& chunks, ThreadPool& pool, Progress* progress) {
  Prober prober(model, chunks, pool);
  for (const Tensor& tensor : rounded) prober.Add(tensor);
  const auto total = static_cast<int64_t>(prober.probes()) * chunks.count;
  if (progress) progress->Begin("measure sensitivity", total);
  int64_t done = 0;
  for (int64_t c = 0; c < chunks.count; ++c) {
    prober.Run(c, [&] {
      CheckCancelled(progress);
      if (progress) progress->Advance(++done);
    });
  }
  if (progress) progress->End();
  return prober.Result();
}

}  // namespace halftone
