#include "training/adapter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "model/dialect.h"

namespace halftone {
namespace {

// "attn_q" of "blk.3.attn_q.weight", "q_proj" of "model.layers.3.self_attn.q_proj.weight".
std::string_view LastName(std::string_view name) {
  const std::string_view module = name.substr(0, name.rfind('.'));
  return module.substr(module.rfind('.') + 1);
}

// Calls visit(linear) for each linear layer inside the layers, in their order.
template <class Model, class Visit>
void VisitLayers(Model& model, Visit&& visit) {
  for (auto& layer : model.layers) VisitAdaptable(layer, visit);
}

// The names by which a target may mean a layer.
std::pair<std::string, std::string> NamesOf(const ModelWeights& model, const Linear& linear) {
  const auto place = PlaceOf(*model.architecture, Dialect::kGguf, linear.name);
  return {std::string(LastName(linear.name)),
          place ? std::string(LastName(NameInDialect(Dialect::kHuggingFace, *place))) : ""};
}

// peft keeps one pair for the gates and ups of experts, and loads none that lacks one of the two.
void RequireGateWithUp(const ModelWeights& model, const std::set<std::string>& layers) {
  if (model.parameters.experts == 0) return;
  const Expert& expert = model.layers[0].experts[0];
  const std::string gate = NamesOf(model, expert.gate).second;
  const std::string up = NamesOf(model, expert.up).second;
  if (layers.contains(gate) == layers.contains(up)) return;
  const bool without_up = layers.contains(gate);
  FailUsage("of experts '{}' without '{}' cannot be trained: peft has both in one",
            without_up ? gate : up, without_up ? up : gate);
}

}  // namespace

Adapter MakeAdapter(const ModelWeights& model, const AdapterShape& shape) {
  if (shape.rank < 1) FailUsage("a rank of {} is none", shape.rank);
  if (!(shape.alpha > 0)) FailUsage("with alpha {} nothing would be trained", shape.alpha);
  Adapter adapter;
  size_t size = 0;
  std::set<std::string> known, used, layers;
  VisitLayers(model, [&](const Linear& linear) {
    const auto [gguf, hf] = NamesOf(model, linear);
    known.insert(hf.empty() ? gguf : hf);
    if (!shape.targets.empty()) {
      const auto target = std::ranges::find_if(
          shape.targets, [&](const std::string& name) { return name == gguf || name == hf; });
      if (target == shape.targets.end()) return;
      used.insert(*target);
    }
    layers.insert(hf);
    AdapterPart part{linear.name,         linear.first_row,
                     shape.rank,          linear.weight->rows,
                     linear.weight->cols, shape.alpha / static_cast<float>(shape.rank)};
    part.a = size;
    part.b_turned = size + static_cast<size_t>(part.rank * part.cols);
    size += part.values();
    adapter.parts.push_back(std::move(part));
  });
  for (const std::string& target : shape.targets) {
    if (!used.contains(target)) {
      FailUsage("there is no linear layer '{}'; there are {}", target, fmt::join(known, ", "));
    }
  }
  RequireGateWithUp(model, layers);
  adapter.values = std::make_shared<std::vector<float>>(size);
  std::mt19937_64 engine(shape.seed);
  for (const AdapterPart& part : adapter.parts) {
    const float bound = 1 / std::sqrt(static_cast<float>(part.cols));
    for (size_t i = part.a; i < part.b_turned; ++i) {
      // 24 bits of the engine: the same numbers with every standard library.
      const auto unit = static_cast<float>(engine() >> 40) * 0x1p-23f - 1;
      (*adapter.values)[i] = unit * bound;
    }
  }
  return adapter;
}

void ShareInGroups(AdapterPart& part, int64_t group, std::span<float> values) {
  part.group = group;
  for (size_t i = part.a; i < part.b_turned; ++i) {
    values[i] = values[i - (i - part.a) % static_cast<size_t>(group)];
  }
}

void AverageInGroups(const Adapter& adapter, std::span<float> values) {
  for (const AdapterPart& part : adapter.parts) {
    if (part.group == 1) continue;
    const auto group = static_cast<size_t>(part.group);
    for (size_t i = part.a; i < part.b_turned; i += group) {
      const auto shared = values.subspan(i, group);
      double sum = 0;
      for (const float value : shared) sum += value;
      std::ranges::fill(shared, static_cast<float>(sum / static_cast<double>(group)));
    }
  }
}

void Attach(const Adapter& adapter, ModelWeights& model, const std::string& source) {
  std::map<std::pair<std::string_view, int64_t>, const AdapterPart*> parts;
  for (const AdapterPart& part : adapter.parts) parts[{part.name, part.first_row}] = &part;
  VisitLayers(model, [&](Linear& linear) {
    const auto it = parts.find({linear.name, linear.first_row});
    if (it == parts.end()) return;
    const AdapterPart& part = *it->second;
    if (part.rows != linear.weight->rows || part.cols != linear.weight->cols) {
      FailFormat("{}: '{}' is for a layer of [{}, {}], but the model's is [{}, {}]", source,
                 part.name, part.rows, part.cols, linear.weight->rows, linear.weight->cols);
    }
    const float* values = adapter.values->data();
    linear.low_rank = std::make_shared<LowRank>(
        LowRank{part.rank, part.scale, values + part.a, values + part.b_turned, adapter.values});
    parts.erase(it);
  });
  if (parts.empty()) return;
  FailFormat("{}: '{}' has no layer in this model: it is another model's adapter", source,
             parts.begin()->second->name);
}

LowRankGradients GradientsOf(const Adapter& adapter, const ModelWeights& model,
                             std::span<float> gradients) {
  std::unordered_map<const float*, const AdapterPart*> parts;
  for (const AdapterPart& part : adapter.parts) parts[adapter.values->data() + part.a] = &part;
  LowRankGradients found;
  VisitLayers(model, [&](const Linear& linear) {
    if (linear.low_rank == nullptr) return;
    const auto it = parts.find(linear.low_rank->a);
    if (it == parts.end()) return;
    const AdapterPart& part = *it->second;
    found[linear.low_rank.get()] = {&gradients[part.a], &gradients[part.b_turned]};
  });
  return found;
}

}  // namespace halftone
