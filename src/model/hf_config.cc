#include "model/hf_config.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace halftone {
namespace {

std::string Text(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
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

// What scales positions or frequencies; empty for none.
OrderedJson RopeScaling(const Hyperparameters& p, const std::string& source) {
  if (p.rope_linear_factor != 1) {
    if (!p.rope_factors.empty()) {
      FailUnsupported("{}: config.json cannot say two scalings of rope", source);
    }
    return {{"rope_type", "linear"}, {"factor", Shortest(p.rope_linear_factor)}};
  }
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

OrderedJson Ids(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids[0];
  return ids;
}

OrderedJson Id(const std::optional<int64_t>& id) { return id ? OrderedJson(*id) : OrderedJson(); }

}  // namespace

std::string HfConfig(const Architecture& architecture, const Hyperparameters& p,
                     const HfModelFacts& facts, const std::string& source) {
  if (p.rope_dim != p.head_dim) {
    FailUnsupported("{}: rope turns {} of {} values of a head, which config.json cannot express",
                    source, p.rope_dim, p.head_dim);
  }
  const OrderedJson scaling = RopeScaling(p, source);
  OrderedJson rope = scaling.is_null() ? OrderedJson{{"rope_type", "default"}} : scaling;
  rope["rope_theta"] = Shortest(p.rope_base);
  OrderedJson config = {{"architectures", OrderedJson::array({architecture.hf_classes.front()})},
                        {"attention_bias", facts.attention_bias},
                        {"attention_dropout", 0.0},
                        {"bos_token_id", Id(facts.bos)},
                        {"dtype", facts.dtype},
                        {"eos_token_id", Ids(facts.eos)},
                        {"head_dim", p.head_dim},
                        {"hidden_act", "silu"},
                        {"hidden_size", p.width},
                        {"initializer_range", 0.02},
                        {"intermediate_size", p.feed_forward},
                        {"max_position_embeddings", p.context},
                        {"mlp_bias", facts.mlp_bias},
                        {"model_type", architecture.name},
                        {"num_attention_heads", p.heads},
                        {"num_hidden_layers", p.layers},
                        {"num_key_value_heads", p.kv_heads},
                        {"pad_token_id", Id(facts.pad)},
                        {"rms_norm_eps", Shortest(p.rms_eps)},
                        {"rope_parameters", rope}};
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  config["rope_theta"] = Shortest(p.rope_base);
  config["tie_word_embeddings"] = facts.tied;
  config["torch_dtype"] = facts.dtype;
  config["use_cache"] = true;
  config["vocab_size"] = p.vocabulary;
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
