#include "pipeline/transform_layer.h"

#include <algorithm>
#include <cmath>

#include "model/fold.h"

namespace halftone {
namespace {

using Jobs = std::map<std::string, const Job*>;

Jobs JobsOfLayer(const RewritePlan& plan, int64_t layer) {
  Jobs jobs;
  for (const Job& job : plan.jobs) {
    const std::string& name = job.source->tensor.name;
    const auto place = PlaceOf(*plan.source->architecture, Dialect::kGguf, name);
    if (place && place->layer == layer) jobs[name] = &job;
  }
  return jobs;
}

std::vector<float> ValuesOf(const RewritePlan& plan, const Job& job, ThreadPool& pool) {
  const Tensor& t = job.source->tensor;
  std::vector<float> values(static_cast<size_t>(t.count()));
  DecodeRows(*plan.source, *job.source, 0, t.rows(), pool, values.data());
  return values;
}

// Divides the norm by the scales, as far as its grid can hold that; the scales become what was
// really divided by.
void FoldIntoNorm(const Grid& grid, std::vector<float>& norm, std::vector<float>& scales) {
  const auto n = static_cast<int64_t>(norm.size());
  std::vector<float> divided(norm.size());
  for (int64_t i = 0; i < n; ++i) divided[i] = norm[i] / scales[i];
  std::vector<uint8_t> blocks(grid.RowBytes(n));
  grid.Encode(divided.data(), n, nullptr, blocks.data());
  grid.Decode(blocks.data(), n, divided.data());
  for (int64_t i = 0; i < n; ++i) {
    const float scale = norm[i] / divided[i];
    const bool usable = std::isfinite(scale) && scale > 0;
    scales[i] = usable ? scale : 1.0f;
    if (usable) norm[i] = divided[i];
  }
}

// Divides the rows of a linear layer, which begin at `first` in the tensor of those weights, and
// its bias.
void FoldIntoRows(std::vector<float>& weights, int64_t cols, std::vector<float>* bias,
                  int64_t first, std::span<const int32_t> source, std::span<const float> scales) {
  const int64_t rows = 1 + *std::ranges::max_element(source);
  std::vector<float> of_row(static_cast<size_t>(rows), 1.0f);
  for (size_t i = 0; i < source.size(); ++i) of_row[source[i]] = scales[i];
  for (int64_t r = 0; r < rows; ++r) {
    float* row = weights.data() + (first + r) * cols;
    for (int64_t c = 0; c < cols; ++c) row[c] /= of_row[r];
    if (bias != nullptr) (*bias)[first + r] /= of_row[r];
  }
}

std::string BiasName(const Linear& linear) {
  return linear.name.substr(0, linear.name.rfind('.')) + ".bias";
}

// Scales the inputs of some linear layers of a layer.
class Scaler {
 public:
  Scaler(const RewritePlan& plan, const Transform& transform, const ModelWeights& model,
         int64_t layer, ThreadPool& pool)
      : transform_(transform),
        model_(model),
        layer_(layer),
        pool_(pool),
        jobs_(JobsOfLayer(plan, layer)) {
    for (const auto& [name, job] : jobs_) values_[name] = ValuesOf(plan, *job, pool);
  }

  // `linears` share an input of these statistics; `before`: whose rows make it, null where a norm
  // does.
  void Scale(Stage stage, Fold fold, const std::vector<const Linear*>& linears,
             const Linear* before, const StageStatistics& statistics) {
    const std::vector<int32_t> source = FoldSource(stage, model_.parameters);
    ScaleProblem problem;
    problem.n = std::ssize(source);
    problem.gram = statistics.gram;
    problem.source = source;
    for (const Linear* linear : linears) {
      problem.linears.push_back(
          {RowsOfLinear(*linear), jobs_.at(linear->name)->choice.grid, linear->weight->rows});
    }
    std::vector<float> scales = transform_.scales(problem, pool_);
    if (before == nullptr) {
      const Role role =
          fold == Fold::kAttentionNorm ? Role::kAttentionNorm : Role::kFeedForwardNorm;
      const std::string name =
          NameInDialect(Dialect::kGguf, *model_.architecture, role, layer_, false);
      FoldIntoNorm(*jobs_.at(name)->choice.grid, values_.at(name), scales);
    } else {
      const auto bias = values_.find(BiasName(*before));
      FoldIntoRows(values_.at(before->name), before->weight->cols,
                   bias == values_.end() ? nullptr : &bias->second, before->first_row, source,
                   scales);
    }
    for (const Linear* linear : linears) {
      const std::span<float> scaled = RowsOfLinear(*linear);
      for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scales[i % scales.size()];
    }
  }

  TransformedValues Take() { return std::move(values_); }

 private:
  std::span<float> RowsOfLinear(const Linear& linear) {
    const int64_t cols = linear.weight->cols;
    return std::span(values_.at(linear.name))
        .subspan(static_cast<size_t>(linear.first_row * cols),
                 static_cast<size_t>(linear.weight->rows * cols));
  }

  const Transform& transform_;
  const ModelWeights& model_;
  const int64_t layer_;
  ThreadPool& pool_;
  const Jobs jobs_;
  TransformedValues values_;
};

}  // namespace

std::vector<std::string> FoldedNames(const RewritePlan& plan, int64_t layer) {
  const bool experts = plan.source->shape.experts > 0;
  std::vector<std::string> names;
  for (const auto& [name, job] : JobsOfLayer(plan, layer)) {
    const auto place = PlaceOf(*plan.source->architecture, Dialect::kGguf, name);
    if (IsFolded(*place, experts)) names.push_back(name);
  }
  return names;
}

TransformedValues TransformValues(const RewritePlan& plan, const Transform& transform,
                                  const ModelWeights& model, int64_t layer,
                                  const LayerStatistics& stages, ThreadPool& pool) {
  const LayerWeights& weights = model.layers[static_cast<size_t>(layer)];
  Scaler scaler(plan, transform, model, layer, pool);
  for (size_t s = 0; s < std::size(kStages); ++s) {
    const Stage stage = kStages[s];
    const Fold fold = FoldOf(weights, stage);
    if (fold == Fold::kNone) continue;
    if (fold == Fold::kUp && !weights.experts.empty()) {
      for (size_t e = 0; e < weights.experts.size(); ++e) {
        const Expert& expert = weights.experts[e];
        scaler.Scale(stage, fold, {&expert.down}, &expert.up, stages[s][e]);
      }
      continue;
    }
    std::vector<const Linear*> linears;
    VisitLinears(weights, stage,
                 [&](const Linear& linear, int64_t) { linears.push_back(&linear); });
    const Linear* before = fold == Fold::kValue ? &weights.value
                           : fold == Fold::kUp  ? &weights.up
                                                : nullptr;
    scaler.Scale(stage, fold, linears, before, stages[s][0]);
  }
  return scaler.Take();
}

LayerWeights LayerWith(const TransformedValues& values, const ModelWeights& model, int64_t layer,
                       Ops& ops) {
  const LayerWeights& original = model.layers[static_cast<size_t>(layer)];
  LayerWeights made = FormOf(original);
  const auto replace = [&](Role role, std::vector<float>& norm) {
    const auto it =
        values.find(NameInDialect(Dialect::kGguf, *model.architecture, role, layer, false));
    if (it != values.end()) norm = it->second;
  };
  replace(Role::kAttentionNorm, made.attention_norm);
  replace(Role::kFeedForwardNorm, made.feed_forward_norm);
  for (const Stage stage : kStages) {
    std::vector<const Matrix*> matrices;
    VisitLinears(original, stage,
                 [&](const Linear& linear, int64_t) { matrices.push_back(linear.weight.get()); });
    size_t next = 0;
    VisitLinears(made, stage, [&](Linear& linear, int64_t) {
      const Matrix& matrix = *matrices[next++];
      if (const auto bias = values.find(BiasName(linear)); bias != values.end()) {
        const auto first = bias->second.begin() + linear.first_row;
        linear.bias.assign(first, first + matrix.rows);
      }
      const auto weight = values.find(linear.name);
      if (weight == values.end()) return;
      const auto rows = std::span(weight->second)
                            .subspan(static_cast<size_t>(linear.first_row * matrix.cols),
                                     static_cast<size_t>(matrix.rows * matrix.cols));
      linear.weight = ops.Prepare(MakeF32Tensor(linear.name, {matrix.rows, matrix.cols}, rows));
    });
  }
  return made;
}

}  // namespace halftone
