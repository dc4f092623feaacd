#include "calibration/imatrix_file.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "container/container.h"

namespace halftone {
namespace {

constexpr std::string_view kDatasetsKey = "imatrix.datasets";
constexpr std::string_view kChunkCountKey = "imatrix.chunk_count";
constexpr std::string_view kChunkSizeKey = "imatrix.chunk_size";
constexpr std::string_view kOwnPrefix = "halftone.";
constexpr std::string_view kSumsSuffix = ".in_sum2";
constexpr std::string_view kCountsSuffix = ".counts";

const Container& Gguf() { return ContainerNamed("gguf"); }

// Importances are means of squares: anything else is a damaged file, and would poison every weight
// that is fitted with it.
void CheckValues(std::span<const float> values, const std::string& path, const std::string& name) {
  const auto bad = std::ranges::find_if(values, [](float v) { return !(v >= 0) || std::isinf(v); });
  if (bad != values.end()) {
    FailFormat("{}: entry '{}': value {} is {}, which is no mean of squares", path, Printable(name),
               bad - values.begin(), *bad);
  }
}

// The values of an f32 tensor.
std::vector<float> Values(const Checkpoint& file, const Tensor& tensor) {
  if (tensor.grid != &F32Grid()) {
    FailFormat("{}: tensor '{}' is {} instead of {}", file.path, Printable(tensor.name),
               tensor.grid->title, F32Grid().title);
  }
  return Decode(tensor);
}

ImportanceMatrix ReadGguf(const std::filesystem::path& path) {
  const Checkpoint file = Gguf().open(path);
  ImportanceMatrix matrix;
  if (const auto* datasets = file.metadata.Strings(kDatasetsKey)) matrix.datasets = *datasets;
  matrix.chunk_count = file.metadata.Int(kChunkCountKey).value_or(0);
  matrix.chunk_size = file.metadata.Int(kChunkSizeKey).value_or(0);

  for (const auto& [key, value] : file.metadata.entries()) {
    if (key.starts_with(kOwnPrefix)) matrix.own.Append(key, value);
  }

  for (const Tensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    if (name.ends_with(kSumsSuffix)) {
      auto& entry = matrix.entries[std::string(name.substr(0, name.size() - kSumsSuffix.size()))];
      entry.sum_squares = Values(file, tensor);
    } else if (name.ends_with(kCountsSuffix)) {
      auto& entry = matrix.entries[std::string(name.substr(0, name.size() - kCountsSuffix.size()))];
      entry.counts = Values(file, tensor);
    }
  }
  if (matrix.entries.empty()) {
    FailFormat("{}: is a GGUF file without importances (no tensor '*{}')", file.path, kSumsSuffix);
  }
  for (const auto& [name, entry] : matrix.entries) {
    if (entry.sum_squares.empty() || entry.counts.empty() ||
        entry.sum_squares.size() % entry.counts.size() != 0) {
      FailFormat("{}: entry '{}': {} sums do not go with {} counts", file.path, Printable(name),
                 entry.sum_squares.size(), entry.counts.size());
    }
    CheckValues(entry.sum_squares, file.path, name);
    CheckValues(entry.counts, file.path, name);
  }
  return matrix;
}

// One entry of the older layout: i32 name bytes | name | i32 calls | i32 values | f32 values.
void ReadLegacyEntry(ByteCursor& file, ImportanceMatrix& matrix) {
  const uint64_t start = file.at();
  const auto name_bytes = file.Read<int32_t>("the length of a name");
  if (name_bytes < 0) file.Fail(start, "a name has {} bytes", name_bytes);
  const std::string_view name = file.Text(static_cast<uint64_t>(name_bytes), "a name");
  file.Subject("entry", name);
  const auto calls = file.Read<int32_t>("the number of calls");
  const uint64_t count_at = file.at();
  const auto count = file.Read<int32_t>("the number of values");
  if (calls < 0 || count < 1) file.Fail(count_at, "{} values from {} calls", count, calls);
  const auto bytes = file.Take(static_cast<uint64_t>(count) * sizeof(float), "the values");

  ImportanceEntry entry;
  entry.sum_squares.resize(static_cast<size_t>(count));
  std::memcpy(entry.sum_squares.data(), bytes.data(), bytes.size());
  // Stored are means times the number of calls. Without calls they are the means.
  entry.counts = {static_cast<float>(std::max(calls, 1))};
  CheckValues(entry.sum_squares, file.path(), std::string(name));
  if (!matrix.entries.emplace(name, std::move(entry)).second) file.Fail(start, "occurs twice");
  file.Subject("", "");
}

ImportanceMatrix ReadLegacy(const std::filesystem::path& path) {
  const auto mapped = MappedFile::Open(path);
  ByteCursor file(path.string(), mapped->bytes());
  ImportanceMatrix matrix;
  matrix.legacy = true;
  const auto entries = file.Read<int32_t>("the number of entries");
  if (entries < 1) file.Fail(0, "is no importance matrix: neither GGUF nor a count of entries");
  for (int32_t i = 0; i < entries; ++i) ReadLegacyEntry(file, matrix);
  // Both trailing fields came later than the format itself.
  if (file.remaining() > 0) matrix.chunk_count = file.Read<int32_t>("the number of chunks");
  if (file.remaining() > 0) {
    const uint64_t start = file.at();
    const auto length = file.Read<int32_t>("the length of the data set's name");
    if (length < 0) file.Fail(start, "the data set's name has {} bytes", length);
    const auto name = file.Text(static_cast<uint64_t>(length), "the data set's name");
    if (!name.empty()) matrix.datasets.emplace_back(name);
  }
  return matrix;
}

uint32_t ToU32(int64_t value) {
  return static_cast<uint32_t>(std::clamp<int64_t>(value, 0, UINT32_MAX));
}

// A dimension of 1 in front is left out, as ggml does.
std::vector<int64_t> Shape(int64_t matrices, int64_t cols) {
  if (matrices == 1) return {cols};
  return {matrices, cols};
}

}  // namespace

std::vector<float> ImportanceEntry::MeanSquare() const {
  std::vector<float> mean(sum_squares);
  const size_t cols = counts.empty() ? 0 : sum_squares.size() / counts.size();
  for (size_t m = 0; m < counts.size(); ++m) {
    // Counts are whole numbers of tokens, kept as floats because GGUF stores them so.
    const float count = std::round(counts[m]);
    for (size_t c = m * cols; c < (m + 1) * cols; ++c) {
      mean[c] = count > 0 ? sum_squares[c] / count : 1.0f;
    }
  }
  return mean;
}

std::vector<int64_t> ImportanceEntry::Unseen() const {
  std::vector<int64_t> unseen;
  for (size_t m = 0; m < counts.size(); ++m) {
    if (std::round(counts[m]) <= 0) unseen.push_back(static_cast<int64_t>(m));
  }
  return unseen;
}

ImportanceMatrix ReadImportanceMatrix(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) FailIo("{}: no such file", path.string());
  // The older layout has no magic number: what is not GGUF can only be that.
  return Gguf().recognize(path) ? ReadGguf(path) : ReadLegacy(path);
}

void WriteImportanceMatrix(const ImportanceMatrix& matrix, const std::filesystem::path& path) {
  CheckpointPlan plan;
  plan.metadata.Set("general.type", std::string("imatrix"));
  plan.metadata.Set(kDatasetsKey, Array{matrix.datasets});
  plan.metadata.Set(kChunkCountKey, ToU32(matrix.chunk_count));
  plan.metadata.Set(kChunkSizeKey, ToU32(matrix.chunk_size));
  for (const auto& [key, value] : matrix.own.entries()) plan.metadata.Set(key, value);
  std::vector<std::span<const float>> data;
  for (const auto& [name, entry] : matrix.entries) {
    const auto matrices = static_cast<int64_t>(entry.counts.size());
    if (matrices == 0 || entry.sum_squares.size() % entry.counts.size() != 0) {
      FailUsage("{}: entry '{}': {} sums do not go with {} counts", path.string(), Printable(name),
                entry.sum_squares.size(), entry.counts.size());
    }
    const auto cols = static_cast<int64_t>(entry.sum_squares.size()) / matrices;
    plan.tensors.push_back({name + std::string(kSumsSuffix), &F32Grid(), Shape(matrices, cols)});
    data.emplace_back(entry.sum_squares);
    plan.tensors.push_back({name + std::string(kCountsSuffix), &F32Grid(), Shape(matrices, 1)});
    data.emplace_back(entry.counts);
  }
  const auto writer = Gguf().create(path, plan);
  for (const auto values : data) {
    writer->Append(std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()));
  }
  writer->Commit();
}

}  // namespace halftone
