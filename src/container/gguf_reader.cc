#include "container/gguf_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/byte_cursor.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/foreign_file.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "container/gguf_format.h"

namespace halftone {
namespace {

std::string_view ReadString(ByteCursor& file, std::string_view what) {
  const uint64_t start = file.at();
  const auto length = file.Read<uint64_t>(what);
  if (length > gguf::kMaxStringBytes || length > file.remaining()) {
    file.Fail(start, "{} claims {} bytes but the file has {} left and 2^30 are allowed", what,
              length, file.remaining());
  }
  return file.Text(length, what);
}

struct Header {
  uint64_t tensors = 0;
  uint64_t keys = 0;
};

Header ReadHeader(ByteCursor& file, std::span<const uint8_t> bytes) {
  if (const auto foreign = ForeignFile(bytes); !foreign.empty()) file.Fail(0, "{}", foreign);
  const uint64_t magic_bytes = std::min<uint64_t>(file.remaining(), gguf::kMagic.size());
  const auto magic = file.Take(magic_bytes, "the magic number");
  if (!std::ranges::equal(magic, gguf::kMagic)) {
    file.Fail(0, "does not begin with \"GGUF\"");
  }
  const auto version = file.Read<uint32_t>("the version");
  if (version == 0) file.Fail(4, "version 0 does not exist");
  if ((version & 0xFFFF) == 0) file.FailUnsupported(4, "is a big-endian GGUF file");
  if (version != 2 && version != 3) {
    file.FailUnsupported(4, "GGUF version {} is not supported, only 2 and 3", version);
  }
  Header header;
  header.tensors = file.Read<uint64_t>("the number of tensors");
  header.keys = file.Read<uint64_t>("the number of keys");
  if (header.tensors > file.remaining() / gguf::kMinTensorBytes) {
    file.Fail(8, "claims {} tensors in {} bytes", header.tensors, file.remaining());
  }
  if (header.keys > file.remaining() / gguf::kMinKeyBytes) {
    file.Fail(16, "claims {} keys in {} bytes", header.keys, file.remaining());
  }
  return header;
}

// Checks a count against what is left of the file, so that it may be allocated.
uint64_t ReadArrayCount(ByteCursor& file, uint64_t element_bytes) {
  const uint64_t start = file.at();
  const auto count = file.Read<uint64_t>("the array's length");
  if (count > gguf::kMaxArrayElements || count > file.remaining() / element_bytes) {
    file.Fail(start, "the array claims {} elements of at least {} bytes but the file has {} left",
              count, element_bytes, file.remaining());
  }
  return count;
}

template <class T>
std::vector<T> ReadElements(ByteCursor& file) {
  if constexpr (std::is_same_v<T, std::string>) {
    const uint64_t count = ReadArrayCount(file, sizeof(uint64_t));
    std::vector<std::string> strings;
    strings.reserve(count);
    for (uint64_t i = 0; i < count; ++i) strings.emplace_back(ReadString(file, "a string"));
    return strings;
  } else {
    const uint64_t count = ReadArrayCount(file, sizeof(T));
    const auto bytes = file.Take(count * sizeof(T), "the array");
    std::vector<T> values(count);
    // memcpy from or to null is undefined even for no bytes.
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
}

// Reads alternative `type` of the variant `V` by trying the alternatives in turn: the type ids are
// their positions, so no list of types is repeated here.
template <size_t I = 0>
Array ReadArray(ByteCursor& file, uint32_t type) {
  using Elements = decltype(Array::elements);
  if constexpr (I < std::variant_size_v<Elements>) {
    if (type != I) return ReadArray<I + 1>(file, type);
    using T = std::variant_alternative_t<I, Elements>;
    Array array;
    if constexpr (std::is_same_v<T, Array::Nested>) {
      file.Fail(file.at() - 4, "arrays of arrays are not allowed");
    } else if constexpr (std::is_same_v<T, Array::Bool>) {
      array.elements.emplace<I>(Array::Bool{ReadElements<uint8_t>(file)});
    } else {
      array.elements.emplace<I>(ReadElements<typename T::value_type>(file));
    }
    return array;
  } else {
    file.Fail(file.at() - 4, "unknown element type {}", type);
  }
}

template <size_t I = 0>
Value ReadValue(ByteCursor& file, uint32_t type) {
  if constexpr (I < std::variant_size_v<Value>) {
    if (type != I) return ReadValue<I + 1>(file, type);
    using T = std::variant_alternative_t<I, Value>;
    if constexpr (std::is_same_v<T, Array>) {
      const auto element_type = file.Read<uint32_t>("the element type");
      return ReadArray(file, element_type);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return Value(std::in_place_index<I>, ReadString(file, "the string"));
    } else if constexpr (std::is_same_v<T, bool>) {
      return Value(std::in_place_index<I>, file.Read<uint8_t>("the value") != 0);
    } else {
      return Value(std::in_place_index<I>, file.Read<T>("the value"));
    }
  } else {
    file.Fail(file.at() - 4, "unknown value type {}", type);
  }
}

uint32_t CheckedAlignment(const ByteCursor& file, uint64_t at, const Value& value) {
  const auto* alignment = std::get_if<uint32_t>(&value);
  if (alignment == nullptr) file.Fail(at, "must be a u32 but is a {}", TypeName(value));
  if (!std::has_single_bit(*alignment)) file.Fail(at, "{} is not a power of two", *alignment);
  return *alignment;
}

struct Settings {
  Metadata metadata;
  uint32_t alignment = gguf::kDefaultAlignment;
};

Settings ReadSettings(ByteCursor& file, uint64_t count) {
  Settings settings;
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < count; ++i) {
    file.Subject("", "");
    const uint64_t start = file.at();
    const std::string_view key = ReadString(file, "a key");
    if (key.empty()) file.Fail(start, "key {} is empty", i);
    file.Subject("key", key);
    if (!seen.insert(key).second) file.Fail(start, "occurs twice");
    const auto type = file.Read<uint32_t>("the value type");
    Value value = ReadValue(file, type);
    if (key == gguf::kAlignmentKey) settings.alignment = CheckedAlignment(file, start, value);
    settings.metadata.Append(std::string(key), std::move(value));
  }
  return settings;
}

// A tensor's entry; its data is found once the data section's place is known.
struct Entry {
  Tensor tensor;
  uint64_t at = 0;      // of the entry in the file
  uint64_t offset = 0;  // of the data in the data section
  uint64_t bytes = 0;
};

std::vector<int64_t> ReadShape(ByteCursor& file) {
  const uint64_t start = file.at();
  const auto dimensions = file.Read<uint32_t>("the number of dimensions");
  if (dimensions > gguf::kMaxDimensions) {
    file.Fail(start, "has {} dimensions, at most {} are allowed", dimensions, gguf::kMaxDimensions);
  }
  std::vector<int64_t> shape(dimensions);
  uint64_t product = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const uint64_t at = file.at();
    const auto extent = file.Read<uint64_t>("a dimension");
    // Zeros are left out of the product, so that no partial product of the shape overflows either.
    const auto next = CheckedMul(product, std::max<uint64_t>(extent, 1));
    if (extent > INT64_MAX || !next || *next > INT64_MAX) {
      file.Fail(at, "dimension {} is {}: the tensor would have more than 2^63-1 elements", i,
                extent);
    }
    product = *next;
    shape[dimensions - 1 - i] = static_cast<int64_t>(extent);
  }
  return shape;
}

Entry ReadEntry(ByteCursor& file, std::unordered_set<std::string_view>& seen) {
  Entry entry;
  entry.at = file.at();
  file.Subject("", "");
  const std::string_view name = ReadString(file, "a tensor's name");
  file.Subject("tensor", name);
  if (name.size() > gguf::kMaxNameBytes) {
    file.Fail(entry.at, "the name has {} bytes, at most {} are allowed", name.size(),
              gguf::kMaxNameBytes);
  }
  if (!seen.insert(name).second) file.Fail(entry.at, "occurs twice");
  Tensor& tensor = entry.tensor;
  tensor.name = name;
  tensor.shape = ReadShape(file);
  const uint64_t type_at = file.at();
  const auto type = file.Read<int32_t>("the tensor type");
  tensor.grid = FindGridByGgufType(type);
  if (tensor.grid == nullptr) {
    file.FailUnsupported(type_at, "tensor type {} is not supported", type);
  }
  if (tensor.cols() % tensor.grid->block != 0) {
    file.Fail(type_at, "a row of {} elements is no multiple of the {} in a block of {}",
              tensor.cols(), tensor.grid->block, tensor.grid->title);
  }
  const auto bytes = CheckedMul(static_cast<uint64_t>(tensor.count() / tensor.grid->block),
                                static_cast<uint64_t>(tensor.grid->bytes));
  if (!bytes) file.Fail(type_at, "the size in bytes overflows");
  entry.bytes = *bytes;
  entry.offset = file.Read<uint64_t>("the data offset");
  return entry;
}

std::vector<Entry> ReadEntries(ByteCursor& file, uint64_t count) {
  std::vector<Entry> entries;
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < count; ++i) entries.push_back(ReadEntry(file, seen));
  return entries;
}

// Checks that the tensors tile the data section and lie within the file, and points them at it.
void PlaceTensors(const ByteCursor& file, uint64_t alignment, std::span<const uint8_t> bytes,
                  std::vector<Entry>& entries) {
  const auto data = CheckedRoundUp(file.at(), alignment);
  uint64_t expected = 0;
  for (Entry& entry : entries) {
    if (entry.offset != expected) {
      FailFormat("{}: byte {}: tensor '{}': data offset {} should be {}", file.path(), entry.at,
                 Printable(entry.tensor.name), entry.offset, expected);
    }
    const auto begin = data ? CheckedAdd(*data, entry.offset) : std::nullopt;
    const auto end = begin ? CheckedAdd(*begin, entry.bytes) : std::nullopt;
    if (!end || *end > bytes.size()) {
      FailFormat(
          "{}: byte {}: tensor '{}': {} bytes of data pass the end of the file at {}; if it was "
          "downloaded, the download ended early",
          file.path(), begin.value_or(entry.at), Printable(entry.tensor.name), entry.bytes,
          bytes.size());
    }
    entry.tensor.data = bytes.subspan(*begin, entry.bytes);
    const auto padded = CheckedRoundUp(entry.bytes, alignment);
    const auto next = padded ? CheckedAdd(expected, *padded) : std::nullopt;
    // Cannot happen for data that lies within a file, whose size is below 2^63.
    if (!next)
      FailFormat("{}: tensor '{}': the size overflows", file.path(), Printable(entry.tensor.name));
    expected = *next;
  }
}

struct Part {
  Metadata metadata;
  std::vector<Tensor> tensors;
  uint64_t file_bytes = 0;
  std::shared_ptr<const MappedFile> mapped;
};

Part ReadPart(const std::filesystem::path& path) {
  const auto mapped = MappedFile::Open(path);
  ByteCursor file(path.string(), mapped->bytes());
  const Header header = ReadHeader(file, mapped->bytes());
  Part part;
  part.file_bytes = mapped->bytes().size();
  part.mapped = mapped;
  Settings settings = ReadSettings(file, header.keys);
  part.metadata = std::move(settings.metadata);
  std::vector<Entry> entries = ReadEntries(file, header.tensors);
  PlaceTensors(file, settings.alignment, mapped->bytes(), entries);
  part.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    entry.tensor.owner = mapped;
    part.tensors.push_back(std::move(entry.tensor));
  }
  return part;
}

// "-00001-of-00003.gguf".
std::string PartSuffix(int64_t no, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", no + 1, count);
}

// "model" of a part's path "model-00001-of-00003.gguf".
std::string PrefixOf(const std::string& path, int64_t no, int64_t count) {
  const std::string suffix = PartSuffix(no, count);
  if (!path.ends_with(suffix)) {
    FailFormat("{}: says it is part {} of {}, whose name must end in '{}'", path, no + 1, count,
               suffix);
  }
  return path.substr(0, path.size() - suffix.size());
}

// A download that ended early lacks several parts: all are named.
void RefuseMissingParts(const std::string& prefix, int64_t count) {
  std::vector<std::string> missing;
  for (int64_t no = 0; no < count; ++no) {
    const std::filesystem::path part = prefix + PartSuffix(no, count);
    std::error_code error;
    if (!std::filesystem::exists(part, error)) missing.push_back(part.filename().string());
  }
  if (missing.empty()) return;
  constexpr size_t kNamed = 20;
  const size_t missed = missing.size();
  if (missed > kNamed) {
    missing.resize(kNamed);
    missing.push_back("...");
  }
  FailIo("{}: {} of {} parts are missing: {}", prefix + PartSuffix(0, count), missed, count,
         fmt::format("{}", fmt::join(missing, ", ")));
}

// Reads parts 1 ... count - 1 and appends their tensors to the first part's.
void ReadOtherParts(const std::filesystem::path& path, int64_t count, Checkpoint& checkpoint) {
  const std::string first = path.string();
  const std::string prefix = PrefixOf(first, 0, count);
  RefuseMissingParts(prefix, count);
  for (int64_t no = 1; no < count; ++no) {
    const std::filesystem::path other = prefix + PartSuffix(no, count);
    Part part = ReadPart(other);
    const auto found = part.metadata.Int(gguf::kSplitNoKey);
    if (found != no) {
      FailFormat("{}: key '{}' should be {} but is {}", other.string(), gguf::kSplitNoKey, no,
                 found ? std::to_string(*found) : "missing");
    }
    checkpoint.file_bytes += part.file_bytes;
    checkpoint.mapped.push_back(std::move(part.mapped));
    std::ranges::move(part.tensors, std::back_inserter(checkpoint.tensors));
  }
  std::unordered_set<std::string_view> seen;
  for (const Tensor& tensor : checkpoint.tensors) {
    if (!seen.insert(tensor.name).second) {
      FailFormat("{}: tensor '{}' lies in two of its {} parts", first, Printable(tensor.name),
                 count);
    }
  }
}

}  // namespace

Checkpoint ReadGguf(const std::filesystem::path& path) {
  std::filesystem::path first = path;
  Part part = ReadPart(path);
  const int64_t count = part.metadata.Int(gguf::kSplitCountKey).value_or(0);
  const int64_t no = part.metadata.Int(gguf::kSplitNoKey).value_or(-1);
  if (count > 1 && (count > UINT16_MAX || no < 0 || no >= count)) {
    FailFormat("{}: keys '{}' and '{}' say part {} of {}", path.string(), gguf::kSplitNoKey,
               gguf::kSplitCountKey, no, count);
  }
  if (count > 1 && no != 0) {
    // Any part may be named; the settings are in the first.
    const std::string prefix = PrefixOf(path.string(), no, count);
    RefuseMissingParts(prefix, count);
    first = prefix + PartSuffix(0, count);
    part = ReadPart(first);
    if (part.metadata.Int(gguf::kSplitNoKey) != 0 ||
        part.metadata.Int(gguf::kSplitCountKey) != count) {
      FailFormat("{}: is not the first of the {} parts that '{}' says there are", first.string(),
                 count, path.string());
    }
  }
  Checkpoint checkpoint;
  checkpoint.path = first.string();
  checkpoint.container = "gguf";
  checkpoint.dialect = Dialect::kGguf;
  checkpoint.file_bytes = part.file_bytes;
  checkpoint.metadata = std::move(part.metadata);
  checkpoint.tensors = std::move(part.tensors);
  checkpoint.mapped.push_back(std::move(part.mapped));
  if (count <= 1) return checkpoint;
  ReadOtherParts(first, count, checkpoint);
  const auto total = checkpoint.metadata.Int(gguf::kSplitTensorsKey);
  if (total != static_cast<int64_t>(checkpoint.tensors.size())) {
    FailFormat("{}: key '{}' promises {} tensors but the {} parts hold {}", checkpoint.path,
               gguf::kSplitTensorsKey, total.value_or(-1), count, checkpoint.tensors.size());
  }
  for (const auto key : {gguf::kSplitNoKey, gguf::kSplitCountKey, gguf::kSplitTensorsKey}) {
    checkpoint.metadata.Erase(key);
  }
  return checkpoint;
}

}  // namespace halftone
