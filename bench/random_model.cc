// Writes a llama of any shape with random weights as a GGUF file, so that speed can be measured
// without a download.
//
//   random_model OUT.gguf --shape tinyllama-1.1b --grid q4_0
//   random_model OUT.gguf --shape 7b --layers 4 --ffn 14336 --grid bf16 --seed 7
//
//   --shape NAME        begins with a known shape (kShapes); what follows changes it
//   --hidden --layers --heads --kv-heads --head --ffn --vocabulary --context
//                       its numbers; a head has hidden / heads values if --head does not say so
//   --tied              the embedding is the output too, which gets no tensor of its own
//   --grid NAME         of all matrices, default bf16; norms are f32
//   --output-grid NAME  of embedding and output, where it is another
//   --seed N            default 0; the same arguments give the same bytes, on any machine
//   --threads N         0: one for each processor
//
// A matrix has normal weights (the sum of four uniform ones) of deviation 1 / sqrt(columns), those
// that end in the residual stream less by sqrt(2 * layers), and norms are 1: logits are near
// normal. Every row of a plain grid is its own; encoding others is slow, so kDistinctRows rows are
// encoded and repeated down the tensor, which changes neither the bytes read nor the work done.
// Memory: a few rows, at most kSlabBytes where a row is shorter.
//
// The vocabulary is SentencePiece's: <unk> <s> </s>, the 256 bytes, the space, printable ASCII, and
// pieces that no text reaches. A text becomes about one token a character.

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "container/container.h"
#include "grid/grid.h"

namespace halftone {
namespace {

constexpr int64_t kDistinctRows = 64;
constexpr uint64_t kSlabBytes = uint64_t{16} << 20;
constexpr int64_t kBytesFrom = 3;  // ids of the vocabulary
constexpr int64_t kPiecesFrom = kBytesFrom + 256;

struct Shape {
  std::string_view name;
  int64_t hidden, layers, heads, kv_heads, ffn, vocabulary, context;
  bool tied;
  int64_t head = 0;  // 0: hidden / heads
};

constexpr Shape kShapes[] = {
    {"tiny", 256, 2, 4, 2, 768, 512, 2048, false},
    {"ref-75m", 512, 16, 8, 4, 1536, 49152, 2048, true},
    {"smollm2-135m", 576, 30, 9, 3, 1536, 49152, 8192, true},
    {"tinyllama-1.1b", 2048, 22, 32, 4, 5632, 32000, 2048, false},
    {"7b", 4096, 32, 32, 32, 11008, 32000, 4096, false},
    {"8b", 4096, 32, 32, 8, 14336, 128256, 8192, false},
};

constexpr std::pair<std::string_view, int64_t Shape::*> kNumbers[] = {
    {"--hidden", &Shape::hidden},   {"--layers", &Shape::layers},
    {"--heads", &Shape::heads},     {"--kv-heads", &Shape::kv_heads},
    {"--head", &Shape::head},       {"--ffn", &Shape::ffn},
    {"--context", &Shape::context}, {"--vocabulary", &Shape::vocabulary},
};

struct Options {
  std::string output;
  Shape shape = kShapes[0];
  std::string grid = "bf16";
  std::string output_grid;  // empty: grid
  int64_t seed = 0;
  int64_t threads = 0;
};

int64_t Number(std::string_view option, std::string_view text, int64_t least) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least ||
      value > int64_t{1} << 40) {
    FailUsage("{}: '{}' is no number from {} on", option, text, least);
  }
  return value;
}

const Shape& ShapeNamed(std::string_view name) {
  std::string known;
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return shape;
    known += fmt::format(" {}", shape.name);
  }
  FailUsage("no shape '{}'; there are{}", name, known);
}

Options Parse(const std::vector<std::string_view>& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    if (!name.starts_with('-')) {
      if (!options.output.empty()) FailUsage("'{}' is one argument too many", name);
      options.output = name;
      continue;
    }
    if (name == "--tied") {
      options.shape.tied = true;
      continue;
    }
    if (++i == arguments.size()) FailUsage("{} needs a value", name);
    const std::string_view value = arguments[i];
    const auto* number =
        std::ranges::find(kNumbers, name, &std::pair<std::string_view, int64_t Shape::*>::first);
    if (name == "--shape") {
      options.shape = ShapeNamed(value);
    } else if (name == "--grid") {
      options.grid = value;
    } else if (name == "--output-grid") {
      options.output_grid = value;
    } else if (name == "--seed") {
      options.seed = Number(name, value, 0);
    } else if (name == "--threads") {
      options.threads = Number(name, value, 0);
    } else if (number != std::end(kNumbers)) {
      options.shape.*(number->second) = Number(name, value, 1);
    } else {
      FailUsage("there is no option {}", name);
    }
  }
  if (options.output.empty())
    FailUsage("usage: random_model OUT.gguf [--shape NAME] [--grid NAME]");
  if (options.shape.vocabulary < kPiecesFrom) {
    FailUsage("--vocabulary must be at least {}", kPiecesFrom);
  }
  if (options.shape.heads % options.shape.kv_heads != 0) {
    FailUsage("--heads must be a multiple of --kv-heads");
  }
  Shape& shape = options.shape;
  if (shape.head == 0) shape.head = std::max<int64_t>(1, shape.hidden / shape.heads);
  return options;
}

// ---- Settings and tensors ----

template <class T>
Array ArrayOf(std::vector<T> values) {
  Array array;
  array.elements = std::move(values);
  return array;
}

void AddVocabulary(int64_t count, Metadata& metadata) {
  enum : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(kByte);
  }
  const auto room = [&] { return static_cast<int64_t>(tokens.size()) < count; };
  if (room()) tokens.push_back("\u2581");  // the space
  for (char c = '!'; c <= '~' && room(); ++c) tokens.emplace_back(1, c);
  while (room()) tokens.push_back(fmt::format("[{}]", tokens.size()));
  types.resize(tokens.size(), kNormal);
  metadata.Append("tokenizer.ggml.model", std::string("llama"));
  metadata.Append("tokenizer.ggml.scores", ArrayOf(std::vector<float>(tokens.size(), -1.0f)));
  metadata.Append("tokenizer.ggml.tokens", ArrayOf(std::move(tokens)));
  metadata.Append("tokenizer.ggml.token_type", ArrayOf(std::move(types)));
  metadata.Append("tokenizer.ggml.bos_token_id", uint32_t{1});
  metadata.Append("tokenizer.ggml.eos_token_id", uint32_t{2});
  metadata.Append("tokenizer.ggml.unknown_token_id", uint32_t{0});
  metadata.Append("tokenizer.ggml.add_bos_token", true);
}

Metadata Settings(const Options& options) {
  const Shape& s = options.shape;
  Metadata metadata;
  metadata.Append("general.architecture", std::string("llama"));
  metadata.Append("general.name", fmt::format("random weights, seed {}", options.seed));
  const auto number = [&](const char* key, int64_t value) {
    metadata.Append(fmt::format("llama.{}", key), static_cast<uint32_t>(value));
  };
  number("context_length", s.context);
  number("embedding_length", s.hidden);
  number("block_count", s.layers);
  number("feed_forward_length", s.ffn);
  number("attention.head_count", s.heads);
  number("attention.head_count_kv", s.kv_heads);
  number("attention.key_length", s.head);
  number("attention.value_length", s.head);
  number("rope.dimension_count", s.head);
  number("vocab_size", s.vocabulary);
  metadata.Append("llama.rope.freq_base", 10000.0f);
  metadata.Append("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  AddVocabulary(s.vocabulary, metadata);
  return metadata;
}

std::vector<TensorPlan> Tensors(const Shape& s, const Grid& grid, const Grid& output) {
  const Grid& f32 = GridNamed("f32");
  const int64_t query = s.heads * s.head, key = s.kv_heads * s.head;
  std::vector<TensorPlan> tensors = {{"token_embd.weight", &output, {s.vocabulary, s.hidden}},
                                     {"output_norm.weight", &f32, {s.hidden}}};
  if (!s.tied) tensors.push_back({"output.weight", &output, {s.vocabulary, s.hidden}});
  for (int64_t layer = 0; layer < s.layers; ++layer) {
    const auto add = [&](const char* name, const Grid& of, std::vector<int64_t> shape) {
      tensors.push_back({fmt::format("blk.{}.{}.weight", layer, name), &of, std::move(shape)});
    };
    add("attn_norm", f32, {s.hidden});
    add("attn_q", grid, {query, s.hidden});
    add("attn_k", grid, {key, s.hidden});
    add("attn_v", grid, {key, s.hidden});
    add("attn_output", grid, {s.hidden, query});
    add("ffn_norm", f32, {s.hidden});
    add("ffn_gate", grid, {s.ffn, s.hidden});
    add("ffn_up", grid, {s.ffn, s.hidden});
    add("ffn_down", grid, {s.hidden, s.ffn});
  }
  return tensors;
}

// ---- Weights ----

// The mixing step of splitmix64 (Steele, Lea, Flood 2014).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t Fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

// A row's values depend on the seed, the tensor's name and the row alone.
void RandomRow(uint64_t seed, int64_t row, float deviation, std::span<float> values) {
  uint64_t state = Mix(seed + static_cast<uint64_t>(row) * 0xd1342543de82ef95u);
  const float unit = deviation * std::sqrt(3.0f) / 65536;
  for (float& value : values) {
    const uint64_t bits = Mix(state += 0x9e3779b97f4a7c15u);
    const int64_t sum = static_cast<int64_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) +
                                             ((bits >> 32) & 0xffff) + (bits >> 48));
    value = static_cast<float>(sum - 2 * 65535) * unit;
  }
}

float Deviation(const TensorPlan& tensor, int64_t layers) {
  const bool residual = tensor.name.find("attn_output") != std::string::npos ||
                        tensor.name.find("ffn_down") != std::string::npos;
  const auto cols = static_cast<float>(tensor.shape.back());
  return 1.0f / std::sqrt(residual ? cols * 2 * static_cast<float>(layers) : cols);
}

void WriteMatrix(const TensorPlan& tensor, const Options& options, ThreadPool& pool,
                 CheckpointWriter& writer) {
  const int64_t rows = tensor.shape.front(), cols = tensor.shape.back();
  const uint64_t row_bytes = tensor.grid->RowBytes(cols);
  const bool repeated = !tensor.grid->plain;
  const int64_t step =
      repeated ? kDistinctRows : std::max<int64_t>(1, static_cast<int64_t>(kSlabBytes / row_bytes));
  const uint64_t seed = Mix(static_cast<uint64_t>(options.seed) + Fnv1a(tensor.name));
  const float deviation = Deviation(tensor, options.shape.layers);
  const std::vector<float> importance(static_cast<size_t>(cols), 1.0f);
  std::vector<uint8_t> bytes;
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    if (first == 0 || !repeated) {
      bytes.resize(static_cast<uint64_t>(count) * row_bytes);
      pool.For(count, [&](int64_t i, int) {
        std::vector<float> values(static_cast<size_t>(cols));
        RandomRow(seed, first + i, deviation, values);
        tensor.grid->Encode(values.data(), cols, importance.data(),
                            bytes.data() + static_cast<uint64_t>(i) * row_bytes);
      });
    }
    writer.Append(std::span(bytes).first(static_cast<uint64_t>(count) * row_bytes));
  }
}

const Grid& WritableGrid(const std::string& name) {
  const Grid& grid = GridNamed(name);
  if (!grid.writable()) FailUsage("{} cannot be written", grid.title);
  return grid;
}

void Write(const Options& options) {
  const Grid& grid = WritableGrid(options.grid);
  const Grid& output = options.output_grid.empty() ? grid : WritableGrid(options.output_grid);
  const CheckpointPlan plan{Settings(options), {}, Tensors(options.shape, grid, output)};
  ThreadPool pool(static_cast<int>(options.threads));
  const auto writer = ContainerNamed("gguf").create(options.output, plan);
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.shape.size() == 2) {
      WriteMatrix(tensor, options, pool, *writer);
    } else {
      const std::vector<float> ones(static_cast<size_t>(tensor.shape.front()), 1.0f);
      writer->Append({reinterpret_cast<const uint8_t*>(ones.data()), ones.size() * sizeof(float)});
    }
  }
  writer->Commit();
}

}  // namespace
}  // namespace halftone

int main(int argc, char** argv) {
  try {
    halftone::Write(halftone::Parse({argv + 1, argv + argc}));
  } catch (const halftone::Error& error) {
    std::fprintf(stderr, "random_model: error: %s\n", error.what());
    return error.kind() == halftone::Error::Kind::kUsage ? 2 : 1;
  }
  return 0;
}
