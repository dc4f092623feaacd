#include "model/hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/hf_hyperparameters.h"

namespace halftone {
namespace {

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

  bool Flag(std::string_view key, bool fallback) const {
    return checkpoint_.metadata.Bool(prefix_ + std::string(key)).value_or(fallback);
  }

  // One for each layer; none where the key is no array of truth values.
  std::optional<std::vector<bool>> Flags(std::string_view key) const {
    const Value* value = checkpoint_.metadata.Find(prefix_ + std::string(key));
    const Array* array = value ? std::get_if<Array>(value) : nullptr;
    const auto* flags = array ? std::get_if<Array::Bool>(&array->elements) : nullptr;
    if (flags == nullptr) return std::nullopt;
    return std::vector<bool>(flags->values.begin(), flags->values.end());
  }

  std::string Text(std::string_view key) const {
    const std::string* text = checkpoint_.metadata.String(prefix_ + std::string(key));
    return text ? *text : "";
  }

 private:
  const Checkpoint& checkpoint_;
  std::string prefix_;
};

// Factors of rope as a tensor; empty where there is none.
std::vector<float> FactorsOf(const Checkpoint& checkpoint, const char* name, int64_t pairs) {
  const Tensor* factors = checkpoint.Find(name);
  if (factors == nullptr) return {};
  if (factors->count() != pairs) {
    FailFormat("{}: tensor '{}' has {} values, expected {}", checkpoint.path, name,
               factors->count(), pairs);
  }
  return Decode(*factors);
}

void ReadGgufRope(const Checkpoint& checkpoint, const GgufKeys& keys,
                  const Architecture& architecture, Hyperparameters& p) {
  p.rope_dim = keys.Int("rope.dimension_count", p.head_dim);
  p.rope_base = keys.Float("rope.freq_base", 10000.0f);
  p.window_rope_base = keys.Float("rope.freq_base_swa", architecture.window_rope_base);
  const std::string scaling = keys.Text("rope.scaling.type");
  if (scaling == "linear") {
    p.rope_linear_factor = keys.Float("rope.scaling.factor", 1.0f);
  } else if (!scaling.empty() && scaling != "none" && scaling != "longrope") {
    FailUnsupported("{}: rope scaling '{}' is not supported", checkpoint.path, scaling);
  }
  p.rope_factors = FactorsOf(checkpoint, "rope_freqs.weight", p.rope_dim / 2);
  LongRope& rope = p.long_rope;
  rope.long_factors = FactorsOf(checkpoint, "rope_factors_long.weight", p.rope_dim / 2);
  rope.short_factors = FactorsOf(checkpoint, "rope_factors_short.weight", p.rope_dim / 2);
  if (rope.long_factors.empty() && rope.short_factors.empty()) return;
  rope.original_context = keys.Int("rope.scaling.original_context_length");
  rope.magnitude = keys.Float("rope.scaling.attn_factor", 1.0f);
}

void ReadGgufWindow(const GgufKeys& keys, const Architecture& architecture, Hyperparameters& p) {
  p.window = keys.Int("attention.sliding_window", architecture.gguf_window);
  if (p.window == 0) return;
  if (const auto each = keys.Flags("attention.sliding_window_pattern")) {
    p.windowed = *each;
  } else {
    p.windowed = WindowPattern(
        p.layers, keys.Int("attention.sliding_window_pattern", architecture.window_period));
  }
}

void ReadGgufExperts(const GgufKeys& keys, Hyperparameters& p) {
  p.experts = keys.Int("expert_count", 0);
  if (p.experts == 0) return;
  p.expert.used = keys.Int("expert_used_count");
  p.expert.feed_forward = keys.Int("expert_feed_forward_length", p.feed_forward);
  p.expert.normalized = keys.Flag("expert_weights_norm", true);
}

// What llama.cpp computes where the file does not say: it knows the largest models by their layers.
float GgufAttentionScale(const Architecture& architecture, const Hyperparameters& p) {
  const bool by_width = architecture.width_scaled_layers == p.layers && p.heads > 0;
  const int64_t size = by_width ? p.width / p.heads : p.head_dim;
  return 1.0f / std::sqrt(static_cast<float>(size));
}

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
  if (keys.Int("attention.value_length", p.head_dim) != p.head_dim) {
    FailUnsupported("{}: values of attention of another size than keys are not supported",
                    checkpoint.path);
  }
  p.rms_eps = keys.Float("attention.layer_norm_rms_epsilon");
  p.attention_scale = keys.Float("attention.scale", GgufAttentionScale(architecture, p));
  p.attention_softcap = keys.Float("attn_logit_softcapping", 0.0f);
  p.output_softcap = keys.Float("final_logit_softcapping", 0.0f);
  ReadGgufRope(checkpoint, keys, architecture, p);
  ReadGgufWindow(keys, architecture, p);
  ReadGgufExperts(keys, p);
  const Tensor* embedding = checkpoint.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    FailFormat("{}: tensor 'token_embd.weight' is missing or no matrix", checkpoint.path);
  }
  p.vocabulary = embedding->rows();
  return p;
}

void Check(const Checkpoint& checkpoint, const Hyperparameters& p) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) FailFormat("{}: {}", checkpoint.path, what);
  };
  require(p.layers >= 1 && p.layers <= kMostLayers,
          fmt::format("{} layers, expected 1 to {}", p.layers, kMostLayers));
  require(p.width > 0 && p.vocabulary > 0 && p.context > 0 &&
              (p.experts > 0 ? p.expert.feed_forward : p.feed_forward) > 0,
          "a width, the vocabulary or the context is 0");
  require(p.heads > 0 && p.kv_heads > 0 && p.heads % p.kv_heads == 0,
          fmt::format("{} heads cannot share {} key-value heads", p.heads, p.kv_heads));
  require(p.head_dim > 0 && p.rope_dim > 0 && p.rope_dim <= p.head_dim && p.rope_dim % 2 == 0,
          fmt::format("head size {} with {} rotary values", p.head_dim, p.rope_dim));
  require(p.rms_eps > 0 && p.rope_base > 0 && p.rope_linear_factor > 0,
          "the norm's epsilon, the rope base or its factor is not positive");
  for (const auto* factors :
       {&p.rope_factors, &p.long_rope.long_factors, &p.long_rope.short_factors}) {
    for (const float factor : *factors) {
      require(std::isfinite(factor) && factor > 0, "a rope factor is not positive");
    }
  }
  require(p.long_rope.long_factors.size() == p.long_rope.short_factors.size(),
          "rope factors are for long or for short contexts alone");
  require(p.attention_scale > 0 && std::isfinite(p.attention_scale) && p.attention_softcap >= 0 &&
              p.output_softcap >= 0 && p.window_rope_base >= 0 && p.long_rope.magnitude > 0,
          "the scale or a cap of scores, or a base or magnitude of rope is negative");
  require(p.window == 0 || static_cast<int64_t>(p.windowed.size()) == p.layers,
          fmt::format("{} layers, of {} it is said whether they have a window", p.layers,
                      p.windowed.size()));
  require(p.experts == 0 || (p.experts <= 65536 && p.expert.used > 0 && p.expert.used <= p.experts),
          fmt::format("{} of {} experts cannot be used", p.expert.used, p.experts));
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

std::vector<float> Hyperparameters::InverseFrequencies(bool window_layer, bool long_context) const {
  const bool local = window_layer && window_rope_base > 0;
  const auto base = static_cast<double>(local ? window_rope_base : rope_base);
  const std::vector<float>& of_length =
      long_context ? long_rope.long_factors : long_rope.short_factors;
  std::vector<float> frequencies(static_cast<size_t>(rope_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope_dim);
    auto wave = static_cast<float>(std::pow(base, exponent));
    if (!of_length.empty()) wave *= of_length[i];
    frequencies[i] = 1.0f / wave;
    if (local) continue;
    frequencies[i] /= rope_linear_factor;
    if (!rope_factors.empty()) frequencies[i] /= rope_factors[i];
  }
  return frequencies;
}

std::vector<bool> WindowPattern(int64_t layers, int64_t period) {
  std::vector<bool> windowed;
  for (int64_t l = 0; l < std::min(layers, kMostLayers); ++l)
    windowed.push_back(period == 0 || l % period < period - 1);
  return windowed;
}

Hyperparameters ReadHyperparameters(const Checkpoint& checkpoint,
                                    const Architecture& architecture) {
  Hyperparameters p = checkpoint.dialect == Dialect::kGguf
                          ? FromGguf(checkpoint, architecture)
                          : HfHyperparameters(checkpoint, architecture);
  Check(checkpoint, p);
  return p;
}

namespace {

// Keys that not every model has.
void AddParticulars(const Architecture& architecture, const Hyperparameters& p, Metadata& m) {
  const std::string a(architecture.name);
  const auto u32 = [&](const std::string& key, int64_t v) {
    m.Set(a + key, Value(static_cast<uint32_t>(v)));
  };
  if (p.rope_linear_factor != 1) {
    m.Set(a + ".rope.scaling.type", Value(std::string("linear")));
    m.Set(a + ".rope.scaling.factor", Value(p.rope_linear_factor));
  }
  if (p.long_rope.original_context > 0) {
    u32(".rope.scaling.original_context_length", p.long_rope.original_context);
  }
  if (!p.long_rope.long_factors.empty()) {
    m.Set(a + ".rope.scaling.attn_factor", Value(p.long_rope.magnitude));
  }
  if (p.window_rope_base > 0) m.Set(a + ".rope.freq_base_swa", Value(p.window_rope_base));
  if (p.attention_scale != GgufAttentionScale(architecture, p)) {
    m.Set(a + ".attention.scale", Value(p.attention_scale));
  }
  if (p.attention_softcap > 0) m.Set(a + ".attn_logit_softcapping", Value(p.attention_softcap));
  if (p.output_softcap > 0) m.Set(a + ".final_logit_softcapping", Value(p.output_softcap));
  // Phi 4 is told from the others by having none.
  if (p.window > 0 || FindRole(architecture, Role::kRopeFactorsLong) != nullptr) {
    u32(".attention.sliding_window", p.window);
  }
  if (p.window > 0 && p.windowed != WindowPattern(p.layers, architecture.window_period)) {
    Array::Bool pattern;
    pattern.values.assign(p.windowed.begin(), p.windowed.end());
    m.Set(a + ".attention.sliding_window_pattern", Value(Array{pattern}));
  }
  if (p.experts == 0) return;
  u32(".expert_count", p.experts);
  u32(".expert_used_count", p.expert.used);
  if (p.expert.feed_forward != p.feed_forward) {
    u32(".expert_feed_forward_length", p.expert.feed_forward);
  }
  if (!p.expert.normalized) m.Set(a + ".expert_weights_norm", Value(false));
}

}  // namespace

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
  AddParticulars(architecture, p, m);
  return m;
}

}  // namespace halftone
