// peft's folder: adapter_config.json says r, lora_alpha and exceptions to them by module;
// adapter_model.safetensors has base_model.model.<module>.lora_A.weight [r, in] and
// .lora_B.weight [out, r]. The product is scaled by lora_alpha / r, or lora_alpha / sqrt(r) with
// use_rslora. Experts have other names in some (expert_adapters.h).
//
// Source: github.com/huggingface/peft (tuners/lora, utils/save_and_load.py).

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "container/hf_folder_writer.h"
#include "container/safetensors_file.h"
#include "pipeline/adapter_formats.h"
#include "pipeline/expert_adapters.h"
#include "tokenizer/regex.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr uint64_t kMostConfigBytes = 16 << 20;

class PeftConfig {
 public:
  explicit PeftConfig(const fs::path& path) : path_(path.string()) {
    config_ = ParseJson(ReadTextFile(path, kMostConfigBytes), path_);
    if (!config_.is_object()) FailFormat("{}: is no JSON object", path_);
    const auto type = config_.find("peft_type");
    if (type == config_.end() || *type != "LORA") {
      FailUnsupported("{}: peft_type {} is not LORA", path_,
                      type == config_.end() ? "(missing)" : type->dump());
    }
    Refuse("use_dora", "DoRA");
    Refuse("use_qalora", "QALoRA");
    Refuse("use_bdlora", "BD-LoRA");
    Refuse("modules_to_save", "modules that are trained whole");
    Refuse("trainable_token_indices", "trained embeddings");
    Refuse("lora_bias", "biases");
    Refuse("layer_replication", "repeated layers");
    const auto bias = config_.find("bias");
    if (bias != config_.end() && *bias != "none") FailUnsupported("{}: has trained biases", path_);
  }

  bool turned() const { return config_.value("fan_in_fan_out", false); }

  // Parameters, in place of modules, that have pairs.
  std::set<std::string> TargetParameters() const {
    std::set<std::string> names;
    const auto it = config_.find("target_parameters");
    if (it == config_.end() || !it->is_array()) return names;
    for (const Json& name : *it) {
      if (name.is_string()) names.insert(name.get<std::string>());
    }
    return names;
  }

  // The scale of a module's product.
  float Scale(const std::string& module, int64_t rank) const {
    const double alpha = Pattern("alpha_pattern", module, Number("lora_alpha", 8));
    const double r = Pattern("rank_pattern", module, Number("r", 8));
    if (static_cast<int64_t>(r) != rank) {
      FailFormat("{}: says rank {} of '{}', but its matrices have {}", path_, r, Printable(module),
                 rank);
    }
    const bool root = config_.contains("use_rslora") && config_["use_rslora"] == true;
    return static_cast<float>(alpha / (root ? std::sqrt(r) : r));
  }

 private:
  void Refuse(const char* key, const char* what) const {
    const auto it = config_.find(key);
    if (it == config_.end() || it->is_null() || *it == false) return;
    if ((it->is_array() || it->is_object()) && it->empty()) return;
    FailUnsupported("{}: has {} ({}), which is more than pairs of matrices", path_, what, key);
  }

  double Number(const char* key, double otherwise) const {
    const auto it = config_.find(key);
    if (it == config_.end() || it->is_null()) return otherwise;
    if (!it->is_number()) FailFormat("{}: '{}' is no number", path_, key);
    return it->get<double>();
  }

  // The first pattern that the module's name ends with decides.
  double Pattern(const char* key, const std::string& module, double otherwise) const {
    const auto patterns = config_.find(key);
    if (patterns == config_.end() || !patterns->is_object()) return otherwise;
    for (const auto& [pattern, value] : patterns->items()) {
      if (!value.is_number()) FailFormat("{}: '{}' holds no number", path_, key);
      const Regex regex(fmt::format("^(?:.*\\.)?(?:{})$", pattern));
      if (RegexMatcher().Find(regex, module, 0)) return value.get<double>();
    }
    return otherwise;
  }

  std::string path_;
  Json config_;
};

// "model.layers.0.mlp.down_proj" and whether it is A, of a tensor's name.
struct TensorName {
  std::string module;
  bool is_a = false;
};

TensorName ParseName(const std::string& path, std::string_view name) {
  const std::string_view whole = name;
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  for (const bool a : {true, false}) {
    const std::string_view ending = a ? ".lora_A.weight" : ".lora_B.weight";
    if (!name.ends_with(ending)) continue;
    return {std::string(name.substr(0, name.size() - ending.size())), a};
  }
  FailUnsupported("{}: tensor '{}' is none of a LoRA's pairs", path, Printable(whole));
}

Tensor Turned(const Tensor& tensor) {
  const std::vector<float> values = Decode(tensor);
  const int64_t rows = tensor.rows(), cols = tensor.cols();
  std::vector<float> turned(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) turned[c * rows + r] = values[r * cols + c];
  }
  return MakeF32Tensor(tensor.name, {cols, rows}, turned);
}

}  // namespace

std::vector<AdapterModule> ReadPeftModules(const std::string& folder,
                                           const Architecture& architecture,
                                           const Hyperparameters& parameters) {
  const PeftConfig config(fs::path(folder) / "adapter_config.json");
  const fs::path weights = fs::path(folder) / "adapter_model.safetensors";
  if (!fs::exists(weights) && fs::exists(fs::path(folder) / "adapter_model.bin")) {
    FailUnsupported(
        "{}: adapter_model.bin is a pickle, which may run code; save the adapter again with "
        "peft's save_pretrained(folder, safe_serialization=True)",
        folder);
  }
  const SafetensorsFile file = ReadSafetensors(weights);
  std::map<std::string, AdapterHalves> halves;
  for (const SafetensorsTensor& source : file.tensors) {
    const auto [module, is_a] = ParseName(file.path, source.name);
    Tensor tensor;
    tensor.name = source.name;
    tensor.grid = source.grid();
    tensor.shape = source.shape;
    tensor.data = source.data;
    tensor.owner = source.owner;
    if (tensor.grid == nullptr || !tensor.grid->plain) {
      FailUnsupported("{}: tensor '{}': dtype {} is not supported", file.path,
                      Printable(source.name), source.dtype->name);
    }
    if (config.turned() && tensor.shape.size() == 2) tensor = Turned(tensor);
    (is_a ? halves[module].a : halves[module].b) = std::move(tensor);
  }
  if (halves.empty()) FailFormat("{}: holds no matrices", file.path);
  std::vector<AdapterModule> modules;
  for (const auto& [name, pair] : halves) {
    if (const auto fused = FusedParameterOf(architecture, name, config.TargetParameters())) {
      for (AdapterModule& module :
           SplitParameter(file.path, architecture, parameters, *fused, pair)) {
        module.scale = config.Scale(fused->name, module.rank);
        modules.push_back(std::move(module));
      }
      continue;
    }
    modules.push_back(
        ModuleFrom(file.path, architecture, Dialect::kHuggingFace, name + ".weight", pair));
    const int64_t expert = modules.back().place.expert;
    if (expert >= 0 && expert >= parameters.experts) {
      FailFormat("{}: '{}' is of expert {}, but there are {}", file.path, Printable(name), expert,
                 parameters.experts);
    }
    modules.back().scale = config.Scale(name, modules.back().rank);
  }
  return modules;
}

namespace {

std::string ModuleName(const AdapterModule& module) {
  std::string name = NameInDialect(Dialect::kHuggingFace, module.place);
  name.resize(name.size() - std::string_view(".weight").size());
  return name;
}

// What most modules have goes without a pattern, and what experts have: peft knows them by other
// names than a pattern's.
std::string ConfigText(const std::vector<AdapterModule>& modules, const std::string& base) {
  std::set<std::string> targets;
  OrderedJson ranks = OrderedJson::object(), alphas = OrderedJson::object();
  const auto expert = std::ranges::find_if(
      modules, [](const AdapterModule& module) { return IsOfMixture(module.place.role->role); });
  const AdapterModule& usual = expert == modules.end() ? modules[0] : *expert;
  const int64_t rank = usual.rank;
  const auto alpha_of = [](const AdapterModule& module) {
    return static_cast<double>(module.scale) * static_cast<double>(module.rank);
  };
  const double alpha = alpha_of(usual);
  for (const AdapterModule& module : modules) {
    const std::string name = ModuleName(module);
    targets.insert(name.substr(name.rfind('.') + 1));
    if (module.rank != rank) ranks[name] = module.rank;
    if (alpha_of(module) != alpha) alphas[name] = alpha_of(module);
  }
  const auto number = [](double value) {
    return value == std::floor(value) ? OrderedJson(static_cast<int64_t>(value))
                                      : OrderedJson(value);
  };
  for (auto& [name, value] : alphas.items()) value = number(value);
  OrderedJson config = {{"alpha_pattern", alphas},
                        {"base_model_name_or_path", base},
                        {"bias", "none"},
                        {"fan_in_fan_out", false},
                        {"inference_mode", true},
                        {"init_lora_weights", true},
                        {"lora_alpha", number(alpha)},
                        {"lora_dropout", 0.0},
                        {"peft_type", "LORA"},
                        {"r", rank},
                        {"rank_pattern", ranks},
                        {"target_modules", targets},
                        {"task_type", "CAUSAL_LM"},
                        {"use_dora", false},
                        {"use_rslora", false}};
  return DocumentText(config);
}

}  // namespace

void WritePeftAdapter(const std::string& path, const std::vector<AdapterModule>& all,
                      const std::string& base, const Grid& type) {
  const std::vector<AdapterModule> modules = EvenExperts(all);
  CheckpointPlan plan;
  for (const AdapterModule& module : modules) {
    const std::string name = std::string(kPrefix) + ModuleName(module);
    plan.tensors.push_back({name + ".lora_A.weight", &type, {module.rank, module.cols()}});
    plan.tensors.push_back({name + ".lora_B.weight", &type, {module.rows(), module.rank}});
  }
  HfFolderPlan folder;
  folder.weights = "adapter_model";
  for (const TensorPlan& tensor : plan.tensors) folder.tensors.push_back(PlainHfTensor(tensor));
  folder.documents["adapter_config.json"] = ConfigText(modules, base);
  const auto writer = CreateHfFolder(path, plan, std::move(folder));
  for (const AdapterModule& module : modules) {
    for (const std::vector<float>* values : {&module.a, &module.b}) {
      writer->Append(BytesOn(type, *values));
    }
  }
  writer->Commit();
}

}  // namespace halftone
