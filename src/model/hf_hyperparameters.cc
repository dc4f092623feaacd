#include "model/hf_hyperparameters.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace halftone {
namespace {

// The members of one object of a config, with what is assumed where they are missing.
class ConfigKeys {
 public:
  ConfigKeys(const Json& config, std::string source, std::span<const ConfigDefault> defaults = {})
      : config_(config), source_(std::move(source)), defaults_(defaults) {}

  bool Has(const char* key) const { return config_.contains(key) && !config_[key].is_null(); }
  // Of a missing key; a key that is null means none.
  const ConfigDefault* Assumed(const char* key) const {
    const auto it = std::ranges::find(defaults_, key, &ConfigDefault::key);
    return it == defaults_.end() || config_.contains(key) ? nullptr : &*it;
  }
  const Json& operator[](const char* key) const { return config_[key]; }
  const std::string& source() const { return source_; }

  int64_t Int(const char* key, std::optional<int64_t> fallback = std::nullopt) const {
    if (const auto* assumed = Assumed(key)) return static_cast<int64_t>(assumed->value);
    if (!Has(key) && fallback) return *fallback;
    if (!Has(key) || !config_[key].is_number_integer()) {
      FailFormat("{}: '{}' is missing or no integer", source_, key);
    }
    const auto number = config_[key].get<int64_t>();
    if (number < 0 || number > kLargestDimension) {
      FailFormat("{}: '{}' is {}, out of range", source_, key, number);
    }
    return number;
  }

  double Float(const char* key, std::optional<double> fallback = std::nullopt) const {
    if (const auto* assumed = Assumed(key)) return assumed->value;
    if (!Has(key) && fallback) return *fallback;
    if (!Has(key) || !config_[key].is_number()) {
      FailFormat("{}: '{}' is missing or no number", source_, key);
    }
    return config_[key].get<double>();
  }

  bool Flag(const char* key, bool fallback) const {
    if (const auto* assumed = Assumed(key)) return assumed->value != 0;
    if (!Has(key)) return fallback;
    if (!config_[key].is_boolean()) FailFormat("{}: '{}' is no truth value", source_, key);
    return config_[key].get<bool>();
  }

  std::vector<float> Floats(const char* key) const {
    std::vector<float> numbers;
    if (Has(key) && config_[key].is_array()) {
      for (const Json& number : config_[key]) {
        if (number.is_number()) numbers.push_back(number.get<float>());
      }
    }
    if (numbers.empty() || numbers.size() != config_[key].size()) {
      FailFormat("{}: '{}' is no list of numbers", source_, key);
    }
    return numbers;
  }

 private:
  const Json& config_;
  std::string source_;
  std::span<const ConfigDefault> defaults_;
};

std::span<const ConfigDefault> DefaultsOf(const Json& config, const Architecture& architecture) {
  const std::string name = config["architectures"][0];
  const auto it = std::ranges::find(architecture.hf_classes, name, &HfClass::name);
  return it == architecture.hf_classes.end() ? std::span<const ConfigDefault>() : it->defaults;
}

// ---- rope ----

void ReadLongRope(const ConfigKeys& rope, const ConfigKeys& keys, Hyperparameters& p) {
  LongRope& to = p.long_rope;
  to.long_factors = rope.Floats("long_factor");
  to.short_factors = rope.Floats("short_factor");
  for (const auto* factors : {&to.long_factors, &to.short_factors}) {
    if (static_cast<int64_t>(factors->size()) != p.rope_dim / 2) {
      FailFormat("{}: {} factors of rope, expected {}", keys.source(), factors->size(),
                 p.rope_dim / 2);
    }
  }
  to.original_context =
      rope.Int("original_max_position_embeddings", keys.Int("original_max_position_embeddings"));
  // The paper's: longer contexts dilute attention.
  const auto original = static_cast<double>(to.original_context);
  const double factor = rope.Float("factor", static_cast<double>(p.context) / original);
  const double magnitude = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  to.magnitude = static_cast<float>(rope.Float("attention_factor", magnitude));
}

void ReadRopeScaling(const Json& json, const ConfigKeys& keys, const Architecture& architecture,
                     Hyperparameters& p) {
  if (!json.is_object()) FailFormat("{}: rope parameters are no object", keys.source());
  std::string type = "default";
  for (const char* key : {"rope_type", "type"}) {
    if (json.contains(key) && json[key].is_string()) {
      type = json[key];
      break;
    }
  }
  const ConfigKeys rope(json, keys.source());
  p.rope_base = static_cast<float>(rope.Float("rope_theta", p.rope_base));
  const bool has_long = FindRole(architecture, Role::kRopeFactorsLong) != nullptr;
  if (type == "linear") {
    p.rope_linear_factor = static_cast<float>(rope.Float("factor"));
  } else if (type == "llama3" && FindRole(architecture, Role::kRopeFactors) != nullptr) {
    const Llama3Scaling scaling{rope.Float("factor"), rope.Float("low_freq_factor"),
                                rope.Float("high_freq_factor"),
                                rope.Float("original_max_position_embeddings")};
    p.rope_factors = scaling.Factors(p.rope_dim, p.rope_base);
  } else if (has_long && (type == "longrope" || type == "su")) {
    ReadLongRope(rope, keys, p);
  } else if (type != "default") {
    FailUnsupported("{}: rope scaling '{}' is not supported", keys.source(), type);
  }
}

// rope_parameters of transformers 5 with an object for each kind of layers.
void ReadRopeOfKinds(const Json& kinds, const ConfigKeys& keys, const Architecture& architecture,
                     Hyperparameters& p) {
  ReadRopeScaling(kinds["full_attention"], keys, architecture, p);
  const auto local = kinds.find("sliding_attention");
  if (local == kinds.end() || local->is_null()) return;
  Hyperparameters of_windows = p;
  of_windows.rope_linear_factor = 1;
  of_windows.rope_base = p.window_rope_base;
  ReadRopeScaling(*local, keys, architecture, of_windows);
  if (of_windows.rope_linear_factor != 1) {
    FailUnsupported("{}: rope scaling of layers with a window is not supported", keys.source());
  }
  p.window_rope_base = of_windows.rope_base;
}

void ReadRope(const ConfigKeys& keys, const Architecture& architecture, Hyperparameters& p) {
  double part = keys.Float("partial_rotary_factor", 1.0);
  if (keys.Has("rope_parameters") && keys["rope_parameters"].is_object()) {
    part = ConfigKeys(keys["rope_parameters"], keys.source()).Float("partial_rotary_factor", part);
  }
  if (part != 1 && !architecture.rope_of_part) {
    FailUnsupported("{}: partial_rotary_factor is not supported for architecture '{}'",
                    keys.source(), architecture.name);
  }
  p.rope_dim = static_cast<int64_t>(static_cast<double>(p.head_dim) * part);
  p.rope_base = static_cast<float>(keys.Float("rope_theta", 10000.0));
  p.window_rope_base =
      static_cast<float>(keys.Float("rope_local_base_freq", architecture.window_rope_base));
  if (FindRole(architecture, Role::kRopeFactorsLong) != nullptr) {
    p.long_rope.original_context = keys.Int("original_max_position_embeddings", p.context);
  }
  if (!keys.Has("rope_parameters")) {
    if (keys.Has("rope_scaling")) ReadRopeScaling(keys["rope_scaling"], keys, architecture, p);
    return;
  }
  const Json& rope = keys["rope_parameters"];
  if (rope.is_object() && rope.contains("full_attention")) {
    ReadRopeOfKinds(rope, keys, architecture, p);
  } else {
    ReadRopeScaling(rope, keys, architecture, p);
  }
}

// ---- the rest ----

void ReadWindow(const ConfigKeys& keys, const Architecture& architecture, Hyperparameters& p) {
  if (!keys.Flag("use_sliding_window", true)) return;
  p.window = keys.Int("sliding_window", 0);
  if (p.window == 0) return;
  if (keys.Has("layer_types")) {
    if (!keys["layer_types"].is_array()) FailFormat("{}: 'layer_types' is no list", keys.source());
    for (const Json& type : keys["layer_types"]) {
      if (type != "sliding_attention" && type != "full_attention") {
        FailUnsupported("{}: layers of type {} are not supported", keys.source(), type.dump());
      }
      p.windowed.push_back(type == "sliding_attention");
    }
  } else {
    p.windowed =
        WindowPattern(p.layers, keys.Int("sliding_window_pattern", architecture.window_period));
    const int64_t whole = std::min(std::ssize(p.windowed), keys.Int("max_window_layers", 0));
    std::fill(p.windowed.begin(), p.windowed.begin() + whole, false);
  }
  if (std::ranges::count(p.windowed, true) > 0) return;
  p.window = 0;
  p.windowed.clear();
}

void ReadExperts(const ConfigKeys& keys, const Architecture& architecture, Hyperparameters& p) {
  if (FindRole(architecture, Role::kRouter) == nullptr) return;
  p.experts = keys.Int("num_local_experts", keys.Int("num_experts", 0));
  if (p.experts == 0) return;
  p.expert.used = keys.Int("num_experts_per_tok");
  p.expert.feed_forward = keys.Int("moe_intermediate_size", p.feed_forward);
  p.expert.normalized = keys.Flag("norm_topk_prob", true);
  const bool some_dense = keys.Has("mlp_only_layers") && !keys["mlp_only_layers"].empty();
  if (some_dense || keys.Int("decoder_sparse_step", 1) != 1) {
    FailUnsupported("{}: layers without experts between layers with them are not supported",
                    keys.source());
  }
}

void CheckComputable(const ConfigKeys& keys, const Architecture& architecture) {
  const char* key = architecture.hf_activation_key.data();
  const char* wanted = architecture.activation == Activation::kSilu ? "silu" : "gelu_pytorch_tanh";
  if (keys.Has(key) && keys[key] != wanted) {
    FailUnsupported("{}: activation {} is not supported", keys.source(), keys[key].dump());
  }
  if (keys.Flag("use_bidirectional_attention", false)) {
    FailUnsupported("{}: attention to later tokens is not supported", keys.source());
  }
}

}  // namespace

const Json& TextConfig(const Json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() ? *text : config;
}

Hyperparameters HfHyperparameters(const Checkpoint& checkpoint, const Architecture& architecture) {
  const std::string source = checkpoint.path + "/config.json";
  const Json config = ParseJson(checkpoint.documents.at("config.json"), source);
  const ConfigKeys keys(TextConfig(config), source, DefaultsOf(config, architecture));
  Hyperparameters p;
  p.vocabulary = keys.Int("vocab_size");
  p.context = keys.Int("max_position_embeddings", 2048);
  p.width = keys.Int("hidden_size");
  p.layers = keys.Int("num_hidden_layers");
  p.heads = keys.Int("num_attention_heads");
  p.kv_heads = keys.Int("num_key_value_heads", p.heads);
  p.head_dim = keys.Int("head_dim", p.heads > 0 ? p.width / p.heads : 0);
  p.feed_forward = keys.Int("intermediate_size");
  p.rms_eps = static_cast<float>(keys.Float("rms_norm_eps", 1e-6));
  const double scaled_by =
      keys.Float("query_pre_attn_scalar", static_cast<double>(std::max<int64_t>(1, p.head_dim)));
  p.attention_scale = 1.0f / std::sqrt(static_cast<float>(scaled_by));
  p.attention_softcap = static_cast<float>(keys.Float("attn_logit_softcapping", 0));
  p.output_softcap = static_cast<float>(keys.Float("final_logit_softcapping", 0));
  CheckComputable(keys, architecture);
  ReadRope(keys, architecture, p);
  ReadWindow(keys, architecture, p);
  ReadExperts(keys, architecture, p);
  return p;
}

}  // namespace halftone
