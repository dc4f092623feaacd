// llama.cpp's adapters: a GGUF file with general.type "adapter", adapter.type "lora",
// general.architecture and adapter.lora.alpha, and for each module <base tensor>.lora_a, A
// [rank, in], and .lora_b, B [out, rank], rows as the base tensor's; experts are stacked as their
// tensors are (expert_adapters.h). The product is scaled by alpha / rank, or not at all where alpha
// is 0.
//
// One alpha serves the whole file: what else a module's scale says goes into its B.
//
// Source: github.com/ggml-org/llama.cpp (src/llama-adapter.cpp, convert_lora_to_gguf.py).

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/printable.h"
#include "container/gguf_reader.h"
#include "container/gguf_writer.h"
#include "pipeline/adapter_formats.h"
#include "pipeline/expert_adapters.h"

namespace halftone {
namespace {

constexpr std::string_view kEndings[] = {".lora_a", ".lora_b"};

// b's rows from one order into the other: row r of the result is the row `from(r)`.
template <class From>
std::vector<float> Rows(const AdapterModule& module, From&& from) {
  std::vector<float> rows(module.b.size());
  for (int64_t r = 0; r < module.rows(); ++r) {
    std::copy_n(module.b.data() + from(r) * module.rank, module.rank,
                rows.data() + r * module.rank);
  }
  return rows;
}

// From GGUF's order to Hugging Face's.
void OrderRows(const std::string& path, const std::string& name, const Hyperparameters& parameters,
               AdapterModule& module) {
  const int64_t heads = HeadsOf(module.place.role->order, parameters), rows = module.rows();
  if (heads == 0) return;
  if (rows % (2 * heads) != 0) {
    FailFormat("{}: '{}' has {} rows, which are no {} heads", path, Printable(name), rows, heads);
  }
  std::vector<int64_t> place_of(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) place_of[SourceRow(r, rows, heads)] = r;
  module.b = Rows(module, [&](int64_t r) { return place_of[static_cast<size_t>(r)]; });
}

}  // namespace

std::vector<AdapterModule> ReadGgufModules(const std::string& path,
                                           const Architecture& architecture,
                                           const Hyperparameters& parameters) {
  const Checkpoint file = ReadGguf(path);
  const auto says = [&](const char* key, std::string_view expected) {
    const std::string* value = file.metadata.String(key);
    if (value != nullptr && *value == expected) return;
    FailFormat("{}: is no LoRA adapter for {}: {} is '{}', not '{}'", path, architecture.name, key,
               value == nullptr ? "missing" : Printable(*value), expected);
  };
  says("general.type", "adapter");
  says("adapter.type", "lora");
  says("general.architecture", architecture.name);
  const auto alpha = file.metadata.Float("adapter.lora.alpha");
  if (!alpha) FailFormat("{}: adapter.lora.alpha is missing", path);

  std::map<std::string, AdapterHalves> halves;
  for (const Tensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    if (name.ends_with(kEndings[0])) {
      halves[std::string(name.substr(0, name.size() - kEndings[0].size()))].a = tensor;
    } else if (name.ends_with(kEndings[1])) {
      halves[std::string(name.substr(0, name.size() - kEndings[1].size()))].b = tensor;
    } else {
      FailUnsupported("{}: tensor '{}' is none of a LoRA's pairs", path, Printable(name));
    }
  }
  if (halves.empty()) FailFormat("{}: holds no matrices", path);
  std::vector<AdapterModule> modules;
  const auto scale = [&](AdapterModule& module) {
    if (*alpha != 0) module.scale = static_cast<float>(*alpha / static_cast<double>(module.rank));
  };
  for (const auto& [name, pair] : halves) {
    const auto place = PlaceOf(architecture, Dialect::kGguf, name);
    if (place && !place->bias && IsExpert(place->role->role)) {
      for (AdapterModule& module : SplitExperts(path, architecture, parameters, name, pair)) {
        scale(module);
        modules.push_back(std::move(module));
      }
      continue;
    }
    AdapterModule module = ModuleFrom(path, architecture, Dialect::kGguf, name, pair);
    scale(module);
    OrderRows(path, name, parameters, module);
    modules.push_back(std::move(module));
  }
  return modules;
}

void WriteGgufAdapter(const std::string& path, const std::vector<AdapterModule>& all,
                      const Architecture& architecture, const Hyperparameters& parameters,
                      const std::string& name, const Grid& type) {
  const std::vector<AdapterModule> modules = StackedExperts(all, parameters.experts);
  // Readers take an alpha of 0 for none at all; B is then 0 instead.
  const float own = modules[0].scale * static_cast<float>(modules[0].rank);
  const float alpha = own == 0 ? 1 : own;
  CheckpointPlan plan;
  plan.metadata.Set("general.architecture", std::string(architecture.name));
  plan.metadata.Set("general.type", std::string("adapter"));
  plan.metadata.Set("adapter.type", std::string("lora"));
  plan.metadata.Set("general.name", name);
  plan.metadata.Set("adapter.lora.alpha", alpha);
  for (const AdapterModule& module : modules) {
    const std::string base = NameInDialect(Dialect::kGguf, module.place);
    std::vector<int64_t> a = {module.rank, module.cols()}, b = {module.rows(), module.rank};
    if (IsExpert(module.place.role->role)) {
      const int64_t experts = parameters.experts;
      a = {experts, module.rank, module.cols() / experts};
      b = {experts, module.rows() / experts, module.rank};
    }
    plan.tensors.push_back({base + std::string(kEndings[0]), &type, a});
    plan.tensors.push_back({base + std::string(kEndings[1]), &type, b});
  }
  const auto writer = CreateGguf(path, plan);
  for (const AdapterModule& module : modules) {
    const int64_t heads = HeadsOf(module.place.role->order, parameters), rows = module.rows();
    std::vector<float> b =
        heads == 0 ? module.b : Rows(module, [&](int64_t r) { return SourceRow(r, rows, heads); });
    const float factor = module.scale * static_cast<float>(module.rank) / alpha;
    if (factor != 1) {
      for (float& value : b) value *= factor;
    }
    writer->Append(BytesOn(type, module.a));
    writer->Append(BytesOn(type, b));
  }
  writer->Commit();
}

}  // namespace halftone
