#include "pipeline/source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "container/container.h"
#include "engine/session.h"
#include "model/file_kind.h"
#include "model/shapes.h"
#include "model/text_model.h"
#include "pipeline/merged_rows.h"

namespace halftone {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{16} << 20;

// The folder's own name, also for "." and a trailing slash; in the hub's cache, where that is a
// commit (models--ORG--NAME/snapshots/COMMIT), the repository's.
std::string ModelName(const std::string& path) {
  auto folder = std::filesystem::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string repo = folder.parent_path().parent_path().filename();
  if (folder.parent_path().filename() == "snapshots" && repo.starts_with("models--")) {
    return repo.substr(repo.rfind("--") + 2);
  }
  return folder.filename();
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

// Of a GGUF file, whose settings need not be complete for its tensors to be rounded.
void CheckShapesOf(const Source& source) {
  if (source.architecture == nullptr) return;
  std::optional<Hyperparameters> parameters;
  try {
    parameters = ReadHyperparameters(source.checkpoint, *source.architecture);
  } catch (const Error&) {
    return;
  }
  CheckShapes(source.checkpoint, *source.architecture, *parameters);
}

}  // namespace

Source OpenSource(const std::string& path, const std::string& adapter, Merging merging) {
  Source source;
  source.checkpoint = TextModelOf(OpenCheckpoint(path));
  if (!adapter.empty() && merging == Merging::kInPlace) {
    MergedInPlace merged = WithAdapterInPlace(std::move(source.checkpoint), adapter);
    source.checkpoint = std::move(merged.checkpoint);
    source.moved = merged.moved;
    source.to_round = std::move(merged.to_round);
  } else if (!adapter.empty()) {
    source.checkpoint = WithAdapter(std::move(source.checkpoint), adapter);
  }
  const Checkpoint& checkpoint = source.checkpoint;
  if (checkpoint.dialect == Dialect::kGguf) {
    const FileKind* kind = KindBesideModel(checkpoint);
    if (kind != nullptr && !kind->quantizes) RequireModel(checkpoint);
    for (const Tensor& tensor : checkpoint.tensors) source.tensors.push_back({tensor, 0});
    source.architecture = FindArchitecture(checkpoint);
    CheckShapesOf(source);
    CheckTokensHaveRows(checkpoint);
    source.metadata = checkpoint.metadata;
    // Settings of a split file describe the split, not the model.
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) {
      source.metadata.Erase(key);
    }
  } else {
    const Architecture& architecture = ArchitectureOf(checkpoint);
    const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
    source.architecture = &architecture;
    CheckShapes(checkpoint, architecture, parameters);
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
  const Tensor t = Loaded(tensor.tensor, pool);
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

namespace {

// Rows (or, of a vector, elements) of `bytes` between the orders of the two dialects.
std::vector<uint8_t> Reordered(const Tensor& shape, const Grid& grid,
                               std::span<const uint8_t> bytes, int64_t heads, bool to_gguf) {
  std::vector<uint8_t> ordered(bytes.begin(), bytes.end());
  if (heads == 0) return ordered;
  const bool elements = shape.shape.size() == 1;
  const uint64_t size = grid.RowBytes(elements ? 1 : shape.cols());
  const int64_t count = elements ? shape.cols() : shape.rows();
  for (int64_t r = 0; r < count; ++r) {
    const auto gguf = static_cast<uint64_t>(r);
    const auto other = static_cast<uint64_t>(SourceRow(r, count, heads));
    std::memcpy(ordered.data() + (to_gguf ? gguf : other) * size,
                bytes.data() + (to_gguf ? other : gguf) * size, size);
  }
  return ordered;
}

}  // namespace

const uint8_t* RowInOrder(const GgufTensor& tensor, int64_t row) {
  const Tensor& t = tensor.tensor;
  const int64_t from =
      tensor.permuted_heads > 0 ? SourceRow(row, t.rows(), tensor.permuted_heads) : row;
  return t.row(from).data();
}

std::vector<uint8_t> RowsInOrder(const GgufTensor& tensor) {
  const Tensor loaded = Loaded(tensor.tensor);
  return Reordered(loaded, *loaded.grid, loaded.data, tensor.permuted_heads, true);
}

Checkpoint AsGguf(const Source& source) {
  Checkpoint checkpoint;
  checkpoint.path = source.checkpoint.path;
  checkpoint.container = source.checkpoint.container;
  checkpoint.dialect = Dialect::kGguf;
  checkpoint.file_bytes = source.checkpoint.file_bytes;
  checkpoint.metadata = source.metadata;
  checkpoint.mapped = source.checkpoint.mapped;
  for (const GgufTensor& t : source.tensors) {
    Tensor tensor = t.tensor;
    if (t.permuted_heads > 0) {
      tensor = MakeTensor(tensor.name, *tensor.grid, tensor.shape, RowsInOrder(t));
      tensor.order = t.tensor.order;
    }
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return checkpoint;
}

DialectPlace PlaceInDialect(const Source& source, const GgufTensor& tensor, Dialect dialect) {
  if (dialect == Dialect::kGguf) return {{tensor.tensor.name}};
  if (source.architecture == nullptr) {
    FailUnsupported("{}: the tensors of architecture '{}' have no Hugging Face names here",
                    source.checkpoint.path, source.shape.architecture);
  }
  auto place = PlaceOf(*source.architecture, Dialect::kGguf, tensor.tensor.name);
  if (!place || place->role->hf.empty()) {
    FailUnsupported("{}: tensor '{}' has no Hugging Face name", source.checkpoint.path,
                    tensor.tensor.name);
  }
  DialectPlace found;
  // Only these need the hyperparameters, which a GGUF file that is merely copied may lack.
  if (place->role->order != RowOrder::kSame) {
    found.permuted_heads =
        HeadsOf(place->role->order, ReadHyperparameters(source.checkpoint, *source.architecture));
  }
  if (IsNorm(place->role->role) && !place->bias) found.offset = source.architecture->norm_offset;
  found.widened = found.offset != 0 || place->role->role == Role::kRouter;
  const bool experts = IsExpert(place->role->role) && tensor.tensor.shape.size() == 3;
  for (int64_t e = 0; e < (experts ? tensor.tensor.shape[0] : 1); ++e) {
    place->expert = e;
    found.names.push_back(NameInDialect(dialect, *place));
  }
  return found;
}

bool HasPlace(const Source& source, const GgufTensor& tensor, Dialect dialect) {
  if (dialect == Dialect::kGguf || source.architecture == nullptr) return true;
  const auto place = PlaceOf(*source.architecture, Dialect::kGguf, tensor.tensor.name);
  return !place || !place->role->hf.empty();
}

std::vector<uint8_t> InFileOrder(const GgufTensor& tensor, const DialectPlace& place,
                                 const Grid& grid, const Grid& file_grid,
                                 std::vector<uint8_t> blocks) {
  if (place.permuted_heads > 0) {
    blocks = Reordered(tensor.tensor, grid, blocks, place.permuted_heads, false);
  }
  if (!place.widened || (place.offset == 0 && &grid == &file_grid)) return blocks;
  const int64_t n = tensor.tensor.count();
  std::vector<float> values(static_cast<size_t>(n));
  grid.Decode(blocks.data(), n, values.data());
  for (float& value : values) value -= place.offset;
  blocks.resize(file_grid.RowBytes(n));
  file_grid.Encode(values.data(), n, nullptr, blocks.data());
  return blocks;
}

void ForKeptBytes(const GgufTensor& tensor, const DialectPlace& place,
                  const std::function<void(std::span<const uint8_t> piece)>& take) {
  const int64_t heads = place.permuted_heads;
  const bool moves = heads > 0 || tensor.permuted_heads > 0;
  GgufTensor loaded = tensor;
  loaded.tensor = Loaded(tensor.tensor);
  const Tensor& t = loaded.tensor;
  if (moves && t.shape.size() <= 1) {
    take(InFileOrder(loaded, place, *t.grid, *t.grid, RowsInOrder(loaded)));
    return;
  }
  const int64_t rows = t.rows();
  const auto row_bytes = std::max<uint64_t>(1, t.row_bytes());
  const auto step = static_cast<int64_t>(std::max<uint64_t>(1, kPieceBytes / row_bytes));
  // Which row in GGUF's order comes at each place of the file.
  std::vector<int64_t> gguf_row(heads > 0 ? static_cast<size_t>(rows) : 0);
  for (int64_t r = 0; r < rows && heads > 0; ++r) gguf_row[SourceRow(r, rows, heads)] = r;
  std::vector<uint8_t> piece;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t end = std::min(rows, begin + step);
    if (!moves) {
      take(t.data.subspan(static_cast<uint64_t>(begin) * t.row_bytes(),
                          static_cast<uint64_t>(end - begin) * t.row_bytes()));
      continue;
    }
    piece.clear();
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* row = RowInOrder(loaded, heads > 0 ? gguf_row[r] : r);
      piece.insert(piece.end(), row, row + t.row_bytes());
    }
    take(piece);
  }
}

}  // namespace halftone
