#include "model/hf_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace halftone {
namespace {

template <class Object>
std::string Text(const Object& json) {
  return json.dump(2, ' ', false, Object::error_handler_t::replace) + "\n";
}

// The shortest decimal number that is this float: 1e-05, not 9.99999974e-06.
double Shortest(float value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double number = value;
  std::from_chars(digits, end, number);
  return number;
}

bool Near(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::fabs(a[i] - b[i]) > 1e-5f * b[i]) return false;
  }
  return a.size() == b.size();
}

std::optional<Llama3Scaling> ScalingOf(const Hyperparameters& p) {
  // The last pair's wave is the longest.
  const double factor = Shortest(p.rope_factors.back());
  for (double trained = 1024; trained <= 1 << 20; trained *= 2) {
    for (const double low : {1.0, 2.0}) {
      for (const double high : {4.0, 2.0, 8.0, 16.0, 32.0}) {
        if (high <= low) continue;
        const Llama3Scaling scaling{factor, low, high, trained};
        if (Near(scaling.Factors(p.rope_dim, p.rope_base), p.rope_factors)) return scaling;
      }
    }
  }
  return std::nullopt;
}

Json Numbers(const std::vector<float>& values) {
  Json numbers = Json::array();
  for (const float value : values) numbers.push_back(Shortest(value));
  return numbers;
}

Json LongScaling(const Hyperparameters& p) {
  const LongRope& rope = p.long_rope;
  Json scaling = {{"rope_type", "longrope"},
                  {"type", "longrope"},
                  {"long_factor", Numbers(rope.long_factors)},
                  {"short_factor", Numbers(rope.short_factors)},
                  {"original_max_position_embeddings", rope.original_context},
                  {"attention_factor", Shortest(rope.magnitude)}};
  return scaling;
}

// What scales positions or frequencies; null for nothing.
Json RopeScaling(const Hyperparameters& p, const std::string& source) {
  const bool is_long = !p.long_rope.long_factors.empty();
  if ((p.rope_linear_factor != 1) + !p.rope_factors.empty() + is_long > 1) {
    FailUnsupported("{}: config.json cannot say two scalings of rope", source);
  }
  if (p.rope_linear_factor != 1) {
    return {{"rope_type", "linear"}, {"factor", Shortest(p.rope_linear_factor)}};
  }
  if (is_long) return LongScaling(p);
  if (p.rope_factors.empty()) return {};
  const auto scaling = ScalingOf(p);
  if (!scaling) {
    FailUnsupported("{}: tensor 'rope_freqs.weight' holds factors that config.json cannot express",
                    source);
  }
  return {{"rope_type", "llama3"},
          {"factor", scaling->factor},
          {"low_freq_factor", scaling->low},
          {"high_freq_factor", scaling->high},
          {"original_max_position_embeddings", static_cast<int64_t>(scaling->trained)}};
}

void AddRope(const Architecture& architecture, const Hyperparameters& p, const std::string& source,
             Json& config) {
  const Json scaling = RopeScaling(p, source);
  Json rope = scaling.is_null() ? Json{{"rope_type", "default"}} : scaling;
  rope["rope_theta"] = Shortest(p.rope_base);
  config["rope_theta"] = Shortest(p.rope_base);
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  if (p.rope_dim != p.head_dim) {
    const double part = static_cast<double>(p.rope_dim) / static_cast<double>(p.head_dim);
    if (!architecture.rope_of_part ||
        static_cast<int64_t>(static_cast<double>(p.head_dim) * part) != p.rope_dim) {
      FailUnsupported("{}: rope turns {} of {} values of a head, which config.json cannot express",
                      source, p.rope_dim, p.head_dim);
    }
    config["partial_rotary_factor"] = part;
    rope["partial_rotary_factor"] = part;
  }
  if (p.long_rope.original_context > 0) {
    config["original_max_position_embeddings"] = p.long_rope.original_context;
  }
  if (p.window_rope_base > 0) {
    const Json local = {{"rope_type", "default"}, {"rope_theta", Shortest(p.window_rope_base)}};
    rope = {{"full_attention", rope}, {"sliding_attention", local}};
    config["rope_local_base_freq"] = Shortest(p.window_rope_base);
  }
  config["rope_parameters"] = rope;
}

// Keys that classes assume something for differ between them; so do those that are written.
bool Knows(const HfClass& hf, std::string_view key) {
  return std::ranges::count(hf.defaults, key, &ConfigDefault::key) > 0;
}

void AddWindow(const HfClass& hf, const Architecture& architecture, const Hyperparameters& p,
               Json& config) {
  if (!hf.windows) return;
  config["sliding_window"] = p.window > 0 ? Json(p.window) : Json();
  if (Knows(hf, "use_sliding_window")) config["use_sliding_window"] = p.window > 0;
  // A mixture's layers are all alike.
  if (p.window == 0 || p.experts > 0) return;
  const bool patterned = architecture.window_period != 0 || Knows(hf, "max_window_layers");
  if (!patterned) return;
  Json types = Json::array();
  for (const bool windowed : p.windowed) {
    types.push_back(windowed ? "sliding_attention" : "full_attention");
  }
  config["layer_types"] = types;
  if (architecture.window_period > 2) config["sliding_window_pattern"] = architecture.window_period;
  if (Knows(hf, "max_window_layers")) {
    config["max_window_layers"] = std::ranges::count(p.windowed, false);
  }
}

void AddExperts(const HfClass& hf, const Hyperparameters& p, Json& config) {
  if (p.experts == 0) return;
  config["num_experts_per_tok"] = p.expert.used;
  config[Knows(hf, "num_experts") ? "num_experts" : "num_local_experts"] = p.experts;
  if (!Knows(hf, "moe_intermediate_size")) {
    config["intermediate_size"] = p.expert.feed_forward;
    return;
  }
  config["moe_intermediate_size"] = p.expert.feed_forward;
  config["norm_topk_prob"] = p.expert.normalized;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = Json::array();
}

void AddScores(const HfClass& hf, const Hyperparameters& p, const std::string& source,
               Json& config) {
  const auto cap = [](float value) { return value > 0 ? Json(Shortest(value)) : Json(); };
  if (Knows(hf, "attn_logit_softcapping") || p.attention_softcap > 0) {
    config["attn_logit_softcapping"] = cap(p.attention_softcap);
  }
  if (Knows(hf, "final_logit_softcapping") || p.output_softcap > 0) {
    config["final_logit_softcapping"] = cap(p.output_softcap);
  }
  const double scalar = 1 / (static_cast<double>(p.attention_scale) * p.attention_scale);
  const double whole = std::round(scalar);
  const bool exact = 1.0f / std::sqrt(static_cast<float>(whole)) == p.attention_scale;
  if (Knows(hf, "query_pre_attn_scalar")) {
    config["query_pre_attn_scalar"] = exact ? Json(static_cast<int64_t>(whole)) : Json(scalar);
  } else if (!exact || static_cast<int64_t>(whole) != p.head_dim) {
    FailUnsupported("{}: config.json cannot express that scores are multiplied by {}", source,
                    p.attention_scale);
  }
}

const HfClass& ClassFor(const Architecture& architecture, const Hyperparameters& p,
                        const std::string& source) {
  for (const HfClass& hf : architecture.hf_classes) {
    if (hf.experts == (p.experts > 0) && (hf.windows || p.window == 0)) return hf;
  }
  FailUnsupported("{}: transformers has no class for such a model of architecture '{}'", source,
                  architecture.name);
}

Json Ids(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids[0];
  return ids;
}

Json Id(const std::optional<int64_t>& id) { return id ? Json(*id) : Json(); }

}  // namespace

std::string HfConfig(const Architecture& architecture, const Hyperparameters& p,
                     const HfModelFacts& facts, const std::string& source) {
  const HfClass& hf = ClassFor(architecture, p, source);
  const bool silu = architecture.activation == Activation::kSilu;
  Json config = {{"architectures", Json::array({hf.name})},
                 {"attention_dropout", 0.0},
                 {"bos_token_id", Id(facts.bos)},
                 {"dtype", facts.dtype},
                 {"eos_token_id", Ids(facts.eos)},
                 {"head_dim", p.head_dim},
                 {"hidden_size", p.width},
                 {"initializer_range", 0.02},
                 {"intermediate_size", p.feed_forward},
                 {"max_position_embeddings", p.context},
                 {"model_type", hf.model_type},
                 {"num_attention_heads", p.heads},
                 {"num_hidden_layers", p.layers},
                 {"num_key_value_heads", p.kv_heads},
                 {"pad_token_id", Id(facts.pad)},
                 {"rms_norm_eps", Shortest(p.rms_eps)},
                 {"tie_word_embeddings", facts.tied},
                 {"torch_dtype", facts.dtype},
                 {"use_cache", true},
                 {"vocab_size", p.vocabulary}};
  config[std::string(architecture.hf_activation_key)] = silu ? "silu" : "gelu_pytorch_tanh";
  if (architecture.hf_biases.attention) config["attention_bias"] = facts.attention_bias;
  if (architecture.hf_biases.feed_forward) config["mlp_bias"] = facts.mlp_bias;
  AddRope(architecture, p, source, config);
  AddWindow(hf, architecture, p, config);
  AddScores(hf, p, source, config);
  AddExperts(hf, p, config);
  return Text(config);
}

std::string HfGenerationConfig(const HfModelFacts& facts) {
  OrderedJson config = {{"_from_model_config", true}};
  if (facts.bos) config["bos_token_id"] = *facts.bos;
  if (!facts.eos.empty()) config["eos_token_id"] = Ids(facts.eos);
  if (facts.pad) config["pad_token_id"] = *facts.pad;
  return Text(config);
}

}  // namespace halftone
