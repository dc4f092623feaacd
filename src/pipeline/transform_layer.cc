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

// Divides the rows of a linear layer, and its bias.
void FoldIntoRows(std::vector<float>& weights, std::vector<float>* bias,
                  std::span<const int32_t> source, std::span<const float> scales) {
  const size_t rows = 1 + static_cast<size_t>(*std::ranges::max_element(source));
  std::vector<float> of_row(rows, 1.0f);
  for (size_t i = 0; i < source.size(); ++i) of_row[source[i]] = scales[i];
  const size_t cols = weights.size() / rows;
  for (size_t i = 0; i < weights.size(); ++i) weights[i] /= of_row[i / cols];
  if (bias == nullptr) return;
  for (size_t r = 0; r < rows; ++r) (*bias)[r] /= of_row[r];
}

}  // namespace

std::vector<std::string> FoldedNames(const RewritePlan& plan, int64_t layer) {
  std::vector<std::string> names;
  for (const auto& [name, job] : JobsOfLayer(plan, layer)) {
    if (IsFolded(*PlaceOf(*plan.source->architecture, Dialect::kGguf, name))) names.push_back(name);
  }
  return names;
}

TransformedValues TransformValues(const RewritePlan& plan, const Transform& transform,
                                  const ModelWeights& model, int64_t layer,
                                  const std::vector<StageStatistics>& stages, ThreadPool& pool) {
  const LayerWeights& weights = model.layers[static_cast<size_t>(layer)];
  const Jobs jobs = JobsOfLayer(plan, layer);
  TransformedValues values;
  for (const auto& [name, job] : jobs) values[name] = ValuesOf(plan, *job, pool);

  for (size_t s = 0; s < std::size(kStages); ++s) {
    const Stage stage = kStages[s];
    const std::vector<int32_t> source = FoldSource(stage, model.parameters);
    ScaleProblem problem;
    problem.n = std::ssize(source);
    problem.gram = stages[s].gram;
    problem.source = source;
    for (const auto member : LinearsOf(stage)) {
      const std::string& name = (weights.*member).name;
      const Job& job = *jobs.at(name);
      problem.linears.push_back({values.at(name), job.choice.grid, job.source->tensor.rows()});
    }
    std::vector<float> scales = transform.scales(problem, pool);

    const Role role = FoldRole(stage);
    const auto name_of = [&](bool bias) {
      return NameInDialect(Dialect::kGguf, *model.architecture, role, layer, bias);
    };
    std::vector<float>& before = values.at(name_of(false));
    if (role == Role::kValue || role == Role::kUp) {
      const auto bias = values.find(name_of(true));
      FoldIntoRows(before, bias == values.end() ? nullptr : &bias->second, source, scales);
    } else {
      FoldIntoNorm(*jobs.at(name_of(false))->choice.grid, before, scales);
    }
    for (const auto member : LinearsOf(stage)) {
      std::vector<float>& scaled = values.at((weights.*member).name);
      for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scales[i % scales.size()];
    }
  }
  return values;
}

LayerWeights LayerWith(const TransformedValues& values, const ModelWeights& model, int64_t layer,
                       Ops& ops) {
  const LayerWeights& original = model.layers[static_cast<size_t>(layer)];
  const auto name_of = [&](Role role) {
    return NameInDialect(Dialect::kGguf, *model.architecture, role, layer);
  };
  LayerWeights made;
  made.attention_norm = values.at(name_of(Role::kAttentionNorm));
  made.feed_forward_norm = values.at(name_of(Role::kFeedForwardNorm));
  for (const Stage stage : kStages) {
    for (const auto member : LinearsOf(stage)) {
      const Linear& from = original.*member;
      Linear& to = made.*member;
      to.name = from.name;
      to.bias = from.bias;
      const std::string base = from.name.substr(0, from.name.rfind('.'));
      if (const auto bias = values.find(base + ".bias"); bias != values.end()) {
        to.bias = bias->second;
      }
      if (const auto weight = values.find(from.name); weight != values.end()) {
        to.weight = ops.Prepare(
            MakeF32Tensor(from.name, {from.weight->rows, from.weight->cols}, weight->second));
      }
    }
  }
  return made;
}

}  // namespace halftone
