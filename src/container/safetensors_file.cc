#include "container/safetensors_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <optional>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/byte_cursor.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace halftone {
namespace {

// GGUF type ids are how the grids that store numbers as they are can be asked for.
constexpr SafetensorsDtype kDtypes[] = {
    {"BOOL", 8, -1},    {"F4", 4, -1},          {"F6_E2M3", 6, -1},     {"F6_E3M2", 6, -1},
    {"U8", 8, -1},      {"I8", 8, 24},          {"F8_E5M2", 8, -1},     {"F8_E4M3", 8, -1},
    {"F8_E8M0", 8, -1}, {"F8_E4M3FNUZ", 8, -1}, {"F8_E5M2FNUZ", 8, -1}, {"I16", 16, 25},
    {"U16", 16, -1},    {"F16", 16, 1},         {"BF16", 16, 30},       {"I32", 32, 26},
    {"U32", 32, -1},    {"F32", 32, 0},         {"C64", 64, -1},        {"F64", 64, 28},
    {"I64", 64, 27},    {"U64", 64, -1},
};

constexpr int kMaxDepth = 127;  // the library's parser gives up at 128

// A tensor's entry as the JSON says it.
struct Entry {
  std::string name;
  uint64_t at = 0;  // where its name ends in the file
  const SafetensorsDtype* dtype = nullptr;
  bool has_shape = false;
  std::vector<uint64_t> shape;
  bool has_offsets = false;
  std::vector<uint64_t> offsets;
};

// Walks the characters of the header and tells how far the parser has come, since nlohmann-json
// does not say in its events.
class Characters {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Characters(const char* at, const char** reached) : at_(at), reached_(reached) {}

  reference operator*() const { return *at_; }
  Characters& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  Characters operator++(int) {
    const Characters old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Characters& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

// Receives the events of the JSON parser. Values that are no part of the format are passed over, as
// the format's library does.
class HeaderHandler {
 public:
  HeaderHandler(const ByteCursor& file, const char* text, const char* const* reached)
      : file_(file), text_(text), reached_(reached) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool null() {
    // The library reads a null __metadata__ as none.
    if (state_ == State::kTop && key_ == kMetadataKey) return true;
    return Scalar("null");
  }
  bool boolean(bool) { return Scalar("a boolean"); }
  bool number_integer(int64_t) { return Scalar("a negative number"); }
  bool number_float(double, const std::string&) { return Scalar("a number that is no integer"); }
  bool binary(Json::binary_t&) { return Scalar("binary"); }

  bool number_unsigned(uint64_t value) {
    if (state_ == State::kShape) {
      entries.back().shape.push_back(value);
    } else if (state_ == State::kOffsets) {
      entries.back().offsets.push_back(value);
    } else {
      return Scalar("a number");
    }
    return true;
  }

  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      metadata[key_] = std::move(value);
      return true;
    }
    if (state_ == State::kTensor && key_ == "dtype") {
      entries.back().dtype = FindSafetensorsDtype(value);
      if (entries.back().dtype == nullptr) Fail("unknown dtype '{}'", Printable(value));
      return true;
    }
    return Scalar("a string");
  }

  bool start_object(size_t) {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTop) {
      state_ = key_ == kMetadataKey ? State::kMetadata : State::kTensor;
      keys_.clear();
    } else {
      Nested("an object");
    }
    return true;
  }

  bool end_object() {
    if (skipped_ > 0) return EndSkipped();
    if (state_ == State::kTensor) {
      const Entry& entry = entries.back();
      if (entry.dtype == nullptr) Fail("has no dtype");
      if (!entry.has_shape) Fail("has no shape");
      if (!entry.has_offsets) Fail("has no data_offsets");
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    in_tensor_ = false;
    return true;
  }

  bool key(std::string& value) {
    if (skipped_ > 0) return true;
    if (state_ == State::kTop) {
      in_tensor_ = value != kMetadataKey;
      if (in_tensor_) {
        entries.emplace_back();
        entries.back().name = value;
        entries.back().at = Position();
      }
      if (!names_.insert(value).second) {
        Fail("{}", in_tensor_ ? "occurs twice" : "__metadata__ occurs twice");
      }
    } else if (!keys_.insert(value).second) {
      Fail("'{}' occurs twice", Printable(value));
    }
    key_ = std::move(value);
    return true;
  }

  bool start_array(size_t) {
    if (state_ == State::kTensor && key_ == "shape") {
      state_ = State::kShape;
      entries.back().has_shape = true;
    } else if (state_ == State::kTensor && key_ == "data_offsets") {
      state_ = State::kOffsets;
      entries.back().has_offsets = true;
    } else {
      Nested("an array");
    }
    return true;
  }

  bool end_array() {
    if (skipped_ > 0) return EndSkipped();
    if (state_ == State::kOffsets && entries.back().offsets.size() != 2) {
      Fail("data_offsets has {} numbers instead of 2", entries.back().offsets.size());
    }
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(size_t, const std::string&, const Json::exception&) {
    in_tensor_ = false;
    Fail("the header is not valid JSON");
  }

 private:
  // kSkipped: within the value of an unknown key of a tensor.
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kSkipped, kEnd };
  static constexpr std::string_view kMetadataKey = "__metadata__";

  uint64_t Position() const { return sizeof(uint64_t) + static_cast<uint64_t>(*reached_ - text_); }

  template <class... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    const std::string subject =
        in_tensor_ ? fmt::format("tensor '{}': ", Printable(entries.back().name)) : "";
    file_.Fail(Position(), "{}{}", subject, fmt::vformat(format, fmt::make_format_args(args...)));
  }

  bool IsField() const { return key_ == "dtype" || key_ == "shape" || key_ == "data_offsets"; }

  // A scalar where nothing of the format has one.
  bool Scalar(std::string_view what) const {
    if (state_ == State::kSkipped || (state_ == State::kTensor && !IsField())) return true;
    FailMisplaced(what);
  }

  // An object or array where nothing of the format has one.
  void Nested(std::string_view what) {
    if (state_ != State::kSkipped && !(state_ == State::kTensor && !IsField())) FailMisplaced(what);
    state_ = State::kSkipped;
    if (++skipped_ > kMaxDepth) Fail("the header is nested too deeply");
  }

  bool EndSkipped() {
    if (--skipped_ == 0) state_ = State::kTensor;
    return true;
  }

  [[noreturn]] void FailMisplaced(std::string_view what) const {
    switch (state_) {
      case State::kMetadata:
        Fail("the metadata '{}' must be a string but is {}", Printable(key_), what);
      case State::kTop:
        Fail("must be an object but is {}", what);
      case State::kTensor:
        Fail("{} cannot be {}", key_, what);
      case State::kShape:
      case State::kOffsets:
        Fail("{} holds {}", key_, what);
      default:
        Fail("the header must be a JSON object but is {}", what);
    }
  }

  const ByteCursor& file_;
  const char* text_;
  const char* const* reached_;
  State state_ = State::kStart;
  int skipped_ = 0;  // open brackets of a value that is passed over
  bool in_tensor_ = false;
  std::string key_;                        // the latest
  std::unordered_set<std::string> names_;  // of the top object
  std::unordered_set<std::string> keys_;   // of the object within it
};

// Turns an entry into a tensor, given the data section.
SafetensorsTensor Place(const ByteCursor& file, Entry& entry, uint64_t data_at,
                        std::span<const uint8_t> data) {
  const std::string name = Printable(entry.name);
  SafetensorsTensor tensor;
  uint64_t count = 1;
  for (const uint64_t extent : entry.shape) {
    const auto next = CheckedMul(count, extent);
    if (extent > INT64_MAX || !next || *next > INT64_MAX) {
      file.Fail(entry.at, "tensor '{}': the shape has more than 2^63-1 elements", name);
    }
    count = *next;
    tensor.shape.push_back(static_cast<int64_t>(extent));
  }
  const auto bits = CheckedMul(count, static_cast<uint64_t>(entry.dtype->bits));
  const uint64_t size = entry.offsets[1] - entry.offsets[0];
  if (!bits || *bits % 8 != 0 || *bits / 8 != size) {
    file.Fail(entry.at, "tensor '{}': {} of {} elements does not take the {} bytes of its offsets",
              name, entry.dtype->name, count, size);
  }
  if (entry.offsets[1] > data.size()) {
    file.Fail(data_at + entry.offsets[0],
              "tensor '{}': {} bytes of data pass the end of the file; if it was downloaded, the "
              "download ended early",
              name, size);
  }
  tensor.name = std::move(entry.name);
  tensor.dtype = entry.dtype;
  tensor.data = data.subspan(entry.offsets[0], size);
  return tensor;
}

std::vector<Entry> ParseHeader(const ByteCursor& file, std::string_view text,
                               std::map<std::string, std::string>& metadata) {
  // nlohmann-json takes a zero byte for the end of the text and passes over a byte order mark.
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    file.Fail(sizeof(uint64_t) + zero, "the header is not valid JSON");
  }
  if (text.starts_with("\xEF")) file.Fail(sizeof(uint64_t), "the header is not valid JSON");
  const char* reached = text.data();
  HeaderHandler handler(file, text.data(), &reached);
  Json::sax_parse(Characters(text.data(), &reached),
                  Characters(text.data() + text.size(), &reached), &handler);
  metadata = std::move(handler.metadata);
  return std::move(handler.entries);
}

}  // namespace

std::span<const SafetensorsDtype> AllSafetensorsDtypes() { return kDtypes; }

const SafetensorsDtype* FindSafetensorsDtype(std::string_view name) {
  const auto* it = std::ranges::find(kDtypes, name, &SafetensorsDtype::name);
  return it == std::end(kDtypes) ? nullptr : it;
}

const Grid* SafetensorsTensor::grid() const { return FindGridByGgufType(dtype->gguf_type); }

SafetensorsFile ReadSafetensors(const std::filesystem::path& path) {
  const auto mapped = MappedFile::Open(path);
  ByteCursor cursor(path.string(), mapped->bytes());
  if (const auto foreign = ForeignFile(mapped->bytes()); !foreign.empty()) {
    cursor.Fail(0, "{}", foreign);
  }
  const auto header_bytes = cursor.Read<uint64_t>("the header's length");
  if (header_bytes > kMaxSafetensorsHeader) {
    cursor.Fail(0, "the header claims {} bytes, at most {} are allowed", header_bytes,
                kMaxSafetensorsHeader);
  }
  SafetensorsFile file;
  file.path = path.string();
  file.file_bytes = mapped->bytes().size();
  file.mapped = mapped;
  const std::string_view text = cursor.Text(header_bytes, "the header");
  std::vector<Entry> entries = ParseHeader(cursor, text, file.metadata);

  std::ranges::stable_sort(entries, {},
                           [](const Entry& e) { return std::tie(e.offsets[0], e.offsets[1]); });
  const uint64_t data_at = cursor.at();
  const auto data = mapped->bytes().subspan(data_at);
  uint64_t expected = 0;
  for (Entry& entry : entries) {
    if (entry.offsets[0] != expected || entry.offsets[1] < entry.offsets[0]) {
      cursor.Fail(entry.at, "tensor '{}': data_offsets [{}, {}] should begin at {}",
                  Printable(entry.name), entry.offsets[0], entry.offsets[1], expected);
    }
    expected = entry.offsets[1];
    file.tensors.push_back(Place(cursor, entry, data_at, data));
    file.tensors.back().owner = mapped;
  }
  if (expected != data.size()) {
    cursor.Fail(data_at + expected, "{} bytes after the last tensor's data",
                data.size() - expected);
  }
  return file;
}

}  // namespace halftone
