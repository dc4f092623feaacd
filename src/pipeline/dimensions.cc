#include "pipeline/dimensions.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace halftone {
namespace {

// Layers, width, heads, key heads, head size, feed-forward, vocabulary, tied: from the config.json
// that was published with each.
constexpr KnownModel kKnownModels[] = {
    {"SmolLM2-135M", {30, 576, 9, 3, 64, 1536, 49152, true}},
    {"SmolLM2-360M", {32, 960, 15, 5, 64, 2560, 49152, true}},
    {"TinyLlama-1.1B", {22, 2048, 32, 4, 64, 5632, 32000, false}},
    {"Llama-3.2-3B", {28, 3072, 24, 8, 128, 8192, 128256, true}},
    {"Mistral-7B", {32, 4096, 32, 8, 128, 14336, 32000, false}},
    {"Llama-3-8B", {32, 4096, 32, 8, 128, 14336, 128256, false}},
    {"Qwen2.5-14B", {48, 5120, 40, 8, 128, 13824, 152064, false}},
    {"Qwen2.5-32B", {64, 5120, 40, 8, 128, 27648, 152064, false}},
    {"Llama-3-70B", {80, 8192, 64, 8, 128, 28672, 128256, false}},
    {"Llama-3.1-405B", {126, 16384, 128, 8, 128, 53248, 128256, false}},
};

// Closer than this a known model is the answer itself.
constexpr double kSameSize = 0.02;

// The nearest positive multiple of `step`.
int64_t RoundTo(double value, int64_t step) {
  return std::max(step,
                  static_cast<int64_t>(std::llround(value / static_cast<double>(step))) * step);
}

// Rows of small models are multiples of 64, those of larger ones of 256, so that no grid needs its
// fallback there.
int64_t RoundRow(double value) { return RoundTo(value, value < 1024 ? 64 : 256); }

// The dimensions between a (t = 0) and b (t = 1).
ModelDimensions Between(const ModelDimensions& a, const ModelDimensions& b, double t) {
  const auto mix = [&](int64_t x, int64_t y) {
    return std::exp((1 - t) * std::log(static_cast<double>(x)) +
                    t * std::log(static_cast<double>(y)));
  };
  ModelDimensions d;
  d.layers = RoundTo(mix(a.layers, b.layers), 1);
  d.head_dim = t < 0.5 ? a.head_dim : b.head_dim;
  d.kv_heads = RoundTo(mix(a.kv_heads * a.head_dim, b.kv_heads * b.head_dim) / d.head_dim, 1);
  d.heads = RoundTo(mix(a.heads * a.head_dim, b.heads * b.head_dim) / d.head_dim, d.kv_heads);
  d.width = RoundRow(mix(a.width, b.width));
  d.feed_forward = RoundRow(mix(a.feed_forward, b.feed_forward));
  d.vocabulary = RoundTo(mix(a.vocabulary, b.vocabulary), 64);
  d.tied = t < 0.5 ? a.tied : b.tied;
  return d;
}

// A model beyond the table: depth and width both grow with the cube root of the size, so that
// layers * width^2 grows with it.
ModelDimensions Scaled(const ModelDimensions& known, double ratio) {
  const double side = std::cbrt(ratio);
  ModelDimensions larger = known;
  const auto grow = [&](int64_t& dimension) {
    dimension = std::max<int64_t>(1, std::llround(static_cast<double>(dimension) * side));
  };
  grow(larger.layers);
  grow(larger.width);
  grow(larger.heads);
  grow(larger.kv_heads);
  grow(larger.feed_forward);
  if (ratio < 1) grow(larger.vocabulary);
  return Between(larger, larger, 0);
}

uint64_t Product(std::initializer_list<int64_t> factors) {
  std::optional<uint64_t> product = 1;
  for (const int64_t factor : factors) {
    product = CheckedMul(*product, static_cast<uint64_t>(factor));
    if (!product) FailUsage("the memory needed does not fit 64 bits");
  }
  return *product;
}

// The largest dimension that is believed; far beyond any model, far from overflow.
constexpr int64_t kMaxDimension = int64_t{1} << 31;

}  // namespace

int64_t ModelDimensions::Parameters() const {
  const int64_t attention = 2 * width * head_dim * (heads + kv_heads);
  const int64_t layer = attention + 3 * width * feed_forward + 2 * width;
  return layers * layer + width + (tied ? 1 : 2) * width * vocabulary;
}

std::span<const KnownModel> KnownModels() { return kKnownModels; }

ModelDimensions TypicalDimensions(int64_t parameters) {
  const auto size = [](const KnownModel& m) {
    return std::log(static_cast<double>(m.dimensions.Parameters()));
  };
  const double wanted = std::log(static_cast<double>(parameters));
  for (const KnownModel& known : kKnownModels) {
    if (std::fabs(size(known) - wanted) < kSameSize) return known.dimensions;
  }
  const auto above =
      std::ranges::find_if(kKnownModels, [&](const KnownModel& m) { return size(m) > wanted; });
  if (above == std::begin(kKnownModels)) {
    return Scaled(above->dimensions, std::exp(wanted - size(*above)));
  }
  const auto below = above - 1;
  if (above == std::end(kKnownModels)) {
    return Scaled(below->dimensions, std::exp(wanted - size(*below)));
  }
  const double t = (wanted - size(*below)) / (size(*above) - size(*below));
  return Between(below->dimensions, above->dimensions, t);
}

std::vector<Tensor> TensorsOf(const ModelDimensions& d) {
  std::vector<Tensor> tensors;
  const auto add = [&](std::string name, std::vector<int64_t> shape) {
    Tensor tensor;
    tensor.name = std::move(name) + ".weight";
    tensor.grid = &F32Grid();
    tensor.shape = std::move(shape);
    tensors.push_back(std::move(tensor));
  };
  if (!d.tied) add("output", {d.vocabulary, d.width});
  add("output_norm", {d.width});
  add("token_embd", {d.vocabulary, d.width});
  const int64_t query = d.heads * d.head_dim, key = d.kv_heads * d.head_dim;
  for (int64_t layer = 0; layer < d.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    add(prefix + "attn_k", {key, d.width});
    add(prefix + "attn_norm", {d.width});
    add(prefix + "attn_output", {d.width, query});
    add(prefix + "attn_q", {query, d.width});
    add(prefix + "attn_v", {key, d.width});
    add(prefix + "ffn_down", {d.width, d.feed_forward});
    add(prefix + "ffn_gate", {d.feed_forward, d.width});
    add(prefix + "ffn_norm", {d.width});
    add(prefix + "ffn_up", {d.feed_forward, d.width});
  }
  return tensors;
}

ModelDimensions DimensionsOf(const Source& source) {
  const Metadata& metadata = source.metadata;
  const auto check = [&](const std::string& key, int64_t value) {
    if (value < 0 || value > kMaxDimension) {
      FailFormat("{}: key '{}' is {}, out of range", source.checkpoint.path, key, value);
    }
    return value;
  };
  // A number, or the largest of an array that has one for each layer.
  const auto number = [&](const char* name, int64_t fallback) {
    const std::string key = source.shape.architecture + "." + name;
    const auto each = metadata.Ints(key);
    if (each && !each->empty()) return check(key, *std::ranges::max_element(*each));
    return check(key, metadata.Int(key).value_or(fallback));
  };
  ModelDimensions d;
  d.layers = number("block_count", 0);
  d.width = number("embedding_length", 0);
  d.heads = number("attention.head_count", 0);
  d.kv_heads = number("attention.head_count_kv", d.heads);
  d.head_dim = number("attention.key_length", d.heads > 0 ? d.width / d.heads : 0);
  d.feed_forward = number("feed_forward_length", 0);
  if (number("expert_count", 0) > 0) {
    d.experts_used = number("expert_used_count", 0);
    d.feed_forward = d.experts_used * number("expert_feed_forward_length", d.feed_forward);
  }
  d.tied = source.shape.tied;
  for (const GgufTensor& t : source.tensors) {
    if (t.tensor.name == "token_embd.weight") d.vocabulary = check("vocabulary", t.tensor.rows());
  }
  return d;
}

uint64_t KvCacheBytes(const ModelDimensions& d, int64_t context, const Grid& grid) {
  const int64_t blocks = (d.head_dim + grid.block - 1) / grid.block;
  return Product({2, d.layers, d.kv_heads, blocks, grid.bytes, context});
}

uint64_t ActivationBytes(const ModelDimensions& d, int64_t batch) {
  // Residual stream, its norm and a branch; queries and attention's result; keys and values; gate
  // and up; what goes to experts and comes from them (model/forward.h, Workspace).
  const int64_t token = (3 + 2 * d.experts_used) * d.width + 2 * d.heads * d.head_dim +
                        2 * d.kv_heads * d.head_dim + 2 * d.feed_forward;
  return Product({4, batch, token}) + Product({4, d.vocabulary});
}

}  // namespace halftone
