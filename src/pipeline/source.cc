#include "pipeline/source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "container/container.h"
#include "engine/session.h"

namespace halftone {
namespace {

// The folder's own name, also for "." and a trailing slash.
std::string ModelName(const std::string& path) {
  const auto absolute = std::filesystem::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute.filename() : absolute.parent_path().filename();
}

ModelShape ShapeOf(const Metadata& metadata, const std::string& path) {
  ModelShape shape;
  const std::string* architecture = metadata.String("general.architecture");
  if (architecture == nullptr) {
    FailFormat("{}: key 'general.architecture' is missing or no string", path);
  }
  shape.architecture = *architecture;
  const auto number = [&](const char* key, int64_t fallback) {
    const std::string name = *architecture + "." + key;
    if (const auto each = metadata.Ints(name); each && !each->empty()) {
      return *std::ranges::max_element(*each);
    }
    return metadata.Int(name).value_or(fallback);
  };
  shape.layers = number("block_count", 0);
  shape.heads = number("attention.head_count", 0);
  shape.kv_heads = number("attention.head_count_kv", shape.heads);
  shape.experts = number("expert_count", 0);
  return shape;
}

Metadata MetadataOf(const Checkpoint& checkpoint, const Architecture& architecture,
                    const Hyperparameters& parameters, int64_t count) {
  Metadata metadata =
      GgufModelMetadata(architecture, parameters, ModelName(checkpoint.path), count);
  const Metadata tokenizer = TokenizerMetadata(checkpoint);
  for (const auto& [key, value] : tokenizer.entries()) metadata.Set(key, value);
  return metadata;
}

}  // namespace

Source OpenSource(const std::string& path) {
  Source source;
  source.checkpoint = OpenCheckpoint(path);
  const Checkpoint& checkpoint = source.checkpoint;
  if (checkpoint.dialect == Dialect::kGguf) {
    for (const Tensor& tensor : checkpoint.tensors) source.tensors.push_back({tensor, 0});
    source.metadata = checkpoint.metadata;
    // Settings of a split file describe the split, not the model.
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) {
      source.metadata.Erase(key);
    }
  } else {
    const Architecture& architecture = ArchitectureOf(checkpoint);
    const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
    source.tensors = GgufTensors(checkpoint, architecture, parameters);
    int64_t count = 0;
    for (const GgufTensor& t : source.tensors) count += t.tensor.count();
    source.metadata = MetadataOf(checkpoint, architecture, parameters, count);
  }
  source.shape = ShapeOf(source.metadata, path);

  std::vector<const Tensor*> order;
  for (const GgufTensor& t : source.tensors) order.push_back(&t.tensor);
  SortForFile(order);
  std::vector<GgufTensor> sorted;
  const GgufTensor* first = source.tensors.data();
  for (const Tensor* tensor : order) {
    const auto it = std::ranges::find_if(source.tensors,
                                         [&](const GgufTensor& t) { return &t.tensor == tensor; });
    sorted.push_back(first[it - source.tensors.begin()]);
  }
  source.tensors = std::move(sorted);
  source.shape.tied = true;
  for (const GgufTensor& t : source.tensors) {
    source.parameters += t.tensor.count();
    if (t.tensor.name == "output.weight") source.shape.tied = false;
  }
  return source;
}

void DecodeRows(const Source& source, const GgufTensor& tensor, int64_t begin, int64_t end,
                ThreadPool& pool, float* values) {
  const Tensor& t = tensor.tensor;
  const int64_t cols = t.cols();
  // A bias is one row whose elements are permuted instead of rows.
  const bool permute_elements = tensor.permuted_heads > 0 && t.shape.size() == 1;
  pool.For(end - begin, [&](int64_t i, int) {
    const int64_t row = begin + i;
    float* out = values + i * cols;
    const int64_t from = tensor.permuted_heads > 0 && !permute_elements
                             ? SourceRow(row, t.rows(), tensor.permuted_heads)
                             : row;
    DecodeRow(t, from, out);
    if (permute_elements) {
      const std::vector<float> straight(out, out + cols);
      for (int64_t c = 0; c < cols; ++c)
        out[c] = straight[SourceRow(c, cols, tensor.permuted_heads)];
    }
    for (int64_t c = 0; c < cols; ++c) {
      if (!std::isfinite(out[c])) {
        FailFormat("{}: tensor '{}' is not finite in row {}, column {}", source.checkpoint.path,
                   t.name, row, c);
      }
    }
  });
}

std::vector<uint8_t> RowsInOrder(const GgufTensor& tensor) {
  const Tensor& t = tensor.tensor;
  std::vector<uint8_t> bytes(t.data.begin(), t.data.end());
  if (tensor.permuted_heads == 0) return bytes;
  const bool elements = t.shape.size() == 1;
  const uint64_t size = elements ? t.row_bytes() / static_cast<uint64_t>(t.cols()) : t.row_bytes();
  const int64_t count = elements ? t.cols() : t.rows();
  for (int64_t r = 0; r < count; ++r) {
    const auto from = static_cast<uint64_t>(SourceRow(r, count, tensor.permuted_heads));
    std::memcpy(bytes.data() + static_cast<uint64_t>(r) * size, t.data.data() + from * size, size);
  }
  return bytes;
}

}  // namespace halftone
