#include "model/hyperparameters.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace halftone {
namespace {

// Any larger and a product of two no longer fits in memory; also keeps int64 arithmetic safe.
constexpr int64_t kLargestDimension = int64_t{1} << 28;

// ---- GGUF ----

class GgufKeys {
 public:
  GgufKeys(const Checkpoint& checkpoint, const Architecture& architecture)
      : checkpoint_(checkpoint), prefix_(std::string(architecture.name) + ".") {}

  int64_t Int(std::string_view key, std::optional<int64_t> fallback = std::nullopt) const {
    const std::string name = prefix_ + std::string(key);
    const Value* value = checkpoint_.metadata.Find(name);
    if (value == nullptr && fallback) return *fallback;
    std::optional<int64_t> number = checkpoint_.metadata.Int(name);
    // Some keys may be arrays with one number for each layer; only constant ones are meant here.
    if (const auto numbers = checkpoint_.metadata.Ints(name); numbers && !numbers->empty()) {
      for (const int64_t n : *numbers) {
        if (n != numbers->front()) {
          FailUnsupported("{}: key '{}' differs between layers", checkpoint_.path, name);
        }
      }
      number = numbers->front();
    }
    if (!number) FailFormat("{}: key '{}' is missing or no integer", checkpoint_.path, name);
    if (*number < 0 || *number > kLargestDimension) {
      FailFormat("{}: key '{}' is {}, out of range", checkpoint_.path, name, *number);
    }
    return *number;
  }

  float Float(std::string_view key, std::optional<float> fallback = std::nullopt) const {
    const std::string name = prefix_ + std::string(key);
    const auto number = checkpoint_.metadata.Float(name);
    if (!number && fallback) return *fallback;
    if (!number || !std::isfinite(*number)) {
      FailFormat("{}: key '{}' is missing or no finite number", checkpoint_.path, name);
    }
    return static_cast<float>(*number);
  }

  std::string Text(std::string_view key) const {
    const std::string* text = checkpoint_.metadata.String(prefix_ + std::string(key));
    return text ? *text : "";
  }

 private:
  const Checkpoint& checkpoint_;
  std::string prefix_;
};

Hyperparameters FromGguf(const Checkpoint& checkpoint, const Architecture& architecture) {
  const GgufKeys keys(checkpoint, architecture);
  Hyperparameters p;
  p.context = keys.Int("context_length");
  p.width = keys.Int("embedding_length");
  p.layers = keys.Int("block_count");
  p.feed_forward = keys.Int("feed_forward_length", 0);
  p.heads = keys.Int("attention.head_count", 0);
  p.kv_heads = keys.Int("attention.head_count_kv", p.heads);
  p.head_dim = keys.Int("attention.key_length", p.heads > 0 ? p.width / p.heads : 0);
  p.rope_dim = keys.Int("rope.dimension_count", p.head_dim);
  p.experts = keys.Int("expert_count", 0);
  p.rms_eps = keys.Float("attention.layer_norm_rms_epsilon");
  p.rope_base = keys.Float("rope.freq_base", 10000.0f);
  const std::string scaling = keys.Text("rope.scaling.type");
  if (scaling == "linear") {
    p.rope_linear_factor = keys.Float("rope.scaling.factor", 1.0f);
  } else if (!scaling.empty() && scaling != "none") {
    FailUnsupported("{}: rope scaling '{}' is not supported", checkpoint.path, scaling);
  }
  const Tensor* embedding = checkpoint.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    FailFormat("{}: tensor 'token_embd.weight' is missing or no matrix", checkpoint.path);
  }
  p.vocabulary = embedding->rows();
  if (const Tensor* factors = checkpoint.Find("rope_freqs.weight")) {
    if (factors->count() != p.rope_dim / 2) {
      FailFormat("{}: tensor 'rope_freqs.weight' has {} values, expected {}", checkpoint.path,
                 factors->count(), p.rope_dim / 2);
    }
    p.rope_factors = Decode(*factors);
  }
  return p;
}

// ---- Hugging Face ----

class ConfigKeys {
 public:
  ConfigKeys(const Json& config, std::string source)
      : config_(config), source_(std::move(source)) {}

  bool Has(const char* key) const { return config_.contains(key) && !config_[key].is_null(); }

  int64_t Int(const char* key, std::optional<int64_t> fallback = std::nullopt) const {
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
    if (!Has(key) && fallback) return *fallback;
    if (!Has(key) || !config_[key].is_number()) {
      FailFormat("{}: '{}' is missing or no number", source_, key);
    }
    return config_[key].get<double>();
  }

 private:
  const Json& config_;
  std::string source_;
};

void ReadRopeScaling(const Json& rope, const std::string& source, Hyperparameters& p) {
  if (!rope.is_object()) FailFormat("{}: rope parameters are no object", source);
  std::string type = "default";
  for (const char* key : {"rope_type", "type"}) {
    if (rope.contains(key) && rope[key].is_string()) {
      type = rope[key];
      break;
    }
  }
  const ConfigKeys keys(rope, source);
  if (type == "linear") {
    p.rope_linear_factor = static_cast<float>(keys.Float("factor"));
  } else if (type == "llama3") {
    const Llama3Scaling scaling{keys.Float("factor"), keys.Float("low_freq_factor"),
                                keys.Float("high_freq_factor"),
                                keys.Float("original_max_position_embeddings")};
    p.rope_factors = scaling.Factors(p.rope_dim, p.rope_base);
  } else if (type != "default") {
    FailUnsupported("{}: rope scaling '{}' is not supported", source, type);
  }
}

Hyperparameters FromHuggingFace(const Checkpoint& checkpoint, const Architecture&) {
  const std::string source = checkpoint.path + "/config.json";
  const Json config = ParseJson(checkpoint.documents.at("config.json"), source);
  const ConfigKeys keys(config, source);
  Hyperparameters p;
  p.vocabulary = keys.Int("vocab_size");
  p.context = keys.Int("max_position_embeddings", 2048);
  p.width = keys.Int("hidden_size");
  p.layers = keys.Int("num_hidden_layers");
  p.heads = keys.Int("num_attention_heads");
  p.kv_heads = keys.Int("num_key_value_heads", p.heads);
  p.head_dim = keys.Int("head_dim", p.heads > 0 ? p.width / p.heads : 0);
  p.rope_dim = p.head_dim;
  p.feed_forward = keys.Int("intermediate_size");
  p.rms_eps = static_cast<float>(keys.Float("rms_norm_eps", 1e-6));
  p.rope_base = static_cast<float>(keys.Float("rope_theta", 10000.0));
  if (config.contains("hidden_act") && config["hidden_act"] != "silu") {
    FailUnsupported("{}: activation {} is not supported", source, config["hidden_act"].dump());
  }
  // transformers 5 keeps base and scaling together in rope_parameters.
  if (keys.Has("rope_parameters")) {
    const ConfigKeys rope(config["rope_parameters"], source);
    p.rope_base = static_cast<float>(rope.Float("rope_theta", p.rope_base));
    ReadRopeScaling(config["rope_parameters"], source, p);
  } else if (keys.Has("rope_scaling")) {
    ReadRopeScaling(config["rope_scaling"], source, p);
  }
  return p;
}

void Check(const Checkpoint& checkpoint, const Hyperparameters& p) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) FailFormat("{}: {}", checkpoint.path, what);
  };
  require(p.layers >= 1 && p.layers <= 512, fmt::format("{} layers, expected 1 to 512", p.layers));
  require(p.width > 0 && p.vocabulary > 0 && p.feed_forward > 0 && p.context > 0,
          "a width, the vocabulary or the context is 0");
  require(p.heads > 0 && p.kv_heads > 0 && p.heads % p.kv_heads == 0,
          fmt::format("{} heads cannot share {} key-value heads", p.heads, p.kv_heads));
  require(p.head_dim > 0 && p.rope_dim > 0 && p.rope_dim <= p.head_dim && p.rope_dim % 2 == 0,
          fmt::format("head size {} with {} rotary values", p.head_dim, p.rope_dim));
  require(p.rms_eps > 0 && p.rope_base > 0 && p.rope_linear_factor > 0,
          "the norm's epsilon, the rope base or its factor is not positive");
  for (const float factor : p.rope_factors) {
    require(std::isfinite(factor) && factor > 0, "a rope factor is not positive");
  }
}

std::string SizeLabel(int64_t count) {
  const auto n = static_cast<double>(count);
  if (n >= 1e9) return fmt::format("{:.1f}B", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.0f}M", n / 1e6);
  return fmt::format("{:.0f}K", n / 1e3);
}

}  // namespace

std::vector<float> Llama3Scaling::Factors(int64_t rope_dim, float rope_base) const {
  std::vector<float> factors(static_cast<size_t>(rope_dim / 2));
  for (size_t i = 0; i < factors.size(); ++i) {
    const double wave = 2 * M_PI *
                        std::pow(static_cast<double>(rope_base),
                                 2.0 * static_cast<double>(i) / static_cast<double>(rope_dim));
    if (wave < trained / high) {
      factors[i] = 1;
    } else if (wave > trained / low) {
      factors[i] = static_cast<float>(factor);
    } else {
      const double smooth = (trained / wave - low) / (high - low);
      factors[i] = static_cast<float>(1 / ((1 - smooth) / factor + smooth));
    }
  }
  return factors;
}

std::vector<float> Hyperparameters::InverseFrequencies() const {
  std::vector<float> frequencies(static_cast<size_t>(rope_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope_dim);
    const auto wave = static_cast<float>(std::pow(static_cast<double>(rope_base), exponent));
    frequencies[i] = 1.0f / wave / rope_linear_factor;
    if (!rope_factors.empty()) frequencies[i] /= rope_factors[i];
  }
  return frequencies;
}

Hyperparameters ReadHyperparameters(const Checkpoint& checkpoint,
                                    const Architecture& architecture) {
  Hyperparameters p = checkpoint.dialect == Dialect::kGguf
                          ? FromGguf(checkpoint, architecture)
                          : FromHuggingFace(checkpoint, architecture);
  Check(checkpoint, p);
  return p;
}

Metadata GgufModelMetadata(const Architecture& architecture, const Hyperparameters& p,
                           const std::string& name, int64_t parameter_count) {
  Metadata m;
  const std::string a(architecture.name);
  const auto u32 = [&](const std::string& key, int64_t v) {
    m.Set(key, Value(static_cast<uint32_t>(v)));
  };
  m.Set("general.architecture", Value(a));
  m.Set("general.type", Value(std::string("model")));
  m.Set("general.name", Value(name));
  m.Set("general.size_label", Value(SizeLabel(parameter_count)));
  u32(a + ".block_count", p.layers);
  u32(a + ".context_length", p.context);
  u32(a + ".embedding_length", p.width);
  u32(a + ".feed_forward_length", p.feed_forward);
  u32(a + ".attention.head_count", p.heads);
  u32(a + ".attention.head_count_kv", p.kv_heads);
  m.Set(a + ".rope.freq_base", Value(p.rope_base));
  m.Set(a + ".attention.layer_norm_rms_epsilon", Value(p.rms_eps));
  u32(a + ".attention.key_length", p.head_dim);
  u32(a + ".attention.value_length", p.head_dim);
  u32(a + ".vocab_size", p.vocabulary);
  u32(a + ".rope.dimension_count", p.rope_dim);
  if (p.rope_linear_factor != 1) {
    m.Set(a + ".rope.scaling.type", Value(std::string("linear")));
    m.Set(a + ".rope.scaling.factor", Value(p.rope_linear_factor));
  }
  return m;
}

}  // namespace halftone
