#include "container/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/gguf_format.h"

namespace halftone {
namespace {

class Bytes {
 public:
  template <class T>
  void Put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    char bytes[sizeof(T)];
    StoreLe(bytes, value);
    text_.append(bytes, sizeof bytes);
  }

  void PutString(std::string_view text) {
    Put<uint64_t>(text.size());
    text_ += text;
  }

  template <class T>
  void PutAll(const std::vector<T>& values) {
    Put<uint64_t>(values.size());
    if constexpr (std::is_same_v<T, std::string>) {
      for (const std::string& value : values) PutString(value);
    } else {
      text_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    }
  }

  void PadTo(uint64_t alignment) { text_.resize(*CheckedRoundUp(text_.size(), alignment)); }

  std::string& text() { return text_; }

 private:
  std::string text_;
};

void PutArray(const Array& array, std::string_view key, Bytes& out) {
  out.Put(static_cast<uint32_t>(array.elements.index()));
  std::visit(
      [&](const auto& elements) {
        using T = std::decay_t<decltype(elements)>;
        if constexpr (std::is_same_v<T, Array::Nested>) {
          FailUsage("key '{}': GGUF has no arrays of arrays", Printable(key));
        } else if constexpr (std::is_same_v<T, Array::Bool>) {
          out.PutAll(elements.values);
        } else {
          out.PutAll(elements);
        }
      },
      array.elements);
}

void PutValue(const Value& value, std::string_view key, Bytes& out) {
  out.Put(static_cast<uint32_t>(value.index()));
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, Array>) {
          PutArray(v, key, out);
        } else if constexpr (std::is_same_v<T, std::string>) {
          out.PutString(v);
        } else if constexpr (std::is_same_v<T, bool>) {
          out.Put<uint8_t>(v ? 1 : 0);
        } else {
          out.Put(v);
        }
      },
      value);
}

uint64_t Alignment(const Metadata& metadata) {
  const Value* value = metadata.Find(gguf::kAlignmentKey);
  if (value == nullptr) return gguf::kDefaultAlignment;
  const auto* alignment = std::get_if<uint32_t>(value);
  if (alignment == nullptr || !std::has_single_bit(*alignment)) {
    FailUsage("key '{}': must be a power of two of type u32 but is the {} {}", gguf::kAlignmentKey,
              TypeName(*value), ValueText(*value));
  }
  return *alignment;
}

// What GGUF cannot hold; the reader would refuse the file.
void CheckTensor(const TensorPlan& tensor) {
  const std::string name = Printable(tensor.name);
  if (tensor.name.size() > gguf::kMaxNameBytes) {
    FailUsage("tensor '{}': GGUF allows names of {} bytes but this one has {}", name,
              gguf::kMaxNameBytes, tensor.name.size());
  }
  if (tensor.shape.size() > gguf::kMaxDimensions) {
    FailUsage("tensor '{}': GGUF allows {} dimensions but the shape is {}", name,
              gguf::kMaxDimensions, ShapeText(tensor.shape));
  }
  if (tensor.grid->gguf_type < 0) {
    FailUsage("tensor '{}': {} has no type in GGUF", name, tensor.grid->title);
  }
  const int64_t cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (cols % tensor.grid->block != 0) {
    FailUsage("tensor '{}': {} columns are no multiple of the {} in a block of {}", name, cols,
              tensor.grid->block, tensor.grid->title);
  }
}

// Everything before the data section, padded.
std::string Head(const CheckpointPlan& plan, uint64_t alignment) {
  Bytes out;
  out.text() += gguf::kMagic;
  out.Put(gguf::kVersion);
  out.Put<uint64_t>(plan.tensors.size());
  out.Put<uint64_t>(plan.metadata.entries().size());
  for (const auto& [key, value] : plan.metadata.entries()) {
    if (key.empty()) FailUsage("GGUF has no empty keys");
    out.PutString(key);
    PutValue(value, key, out);
  }
  uint64_t offset = 0;
  std::unordered_set<std::string_view> seen;
  for (const TensorPlan& tensor : plan.tensors) {
    CheckTensor(tensor);
    if (!seen.insert(tensor.name).second) {
      FailUsage("tensor '{}' is planned twice", Printable(tensor.name));
    }
    out.PutString(tensor.name);
    out.Put(static_cast<uint32_t>(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it) out.Put(*it);
    out.Put(static_cast<int32_t>(tensor.grid->gguf_type));
    out.Put(offset);
    offset += *CheckedRoundUp(tensor.bytes(), alignment);
  }
  out.PadTo(alignment);
  return std::move(out.text());
}

// The plans of the parts; one where nothing is to be split.
std::vector<CheckpointPlan> Parts(const CheckpointPlan& plan) {
  std::vector<CheckpointPlan> parts(1);
  uint64_t bytes = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    const uint64_t size = *CheckedRoundUp(tensor.bytes(), gguf::kDefaultAlignment);
    const bool fits = plan.split_bytes == 0 || bytes + size <= plan.split_bytes;
    if (!fits && !parts.back().tensors.empty()) {
      parts.emplace_back();
      bytes = 0;
    }
    parts.back().tensors.push_back(tensor);
    bytes += size;
  }
  parts[0].metadata = plan.metadata;
  if (parts.size() == 1) return parts;
  if (parts.size() > gguf::kMaxParts) {
    FailUsage("{} parts of {} bytes are more than a split file can have", parts.size(),
              plan.split_bytes);
  }
  std::unordered_set<std::string_view> seen;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!seen.insert(tensor.name).second) {
      FailUsage("tensor '{}' is planned twice", Printable(tensor.name));
    }
  }
  for (size_t no = 0; no < parts.size(); ++no) {
    Metadata& metadata = parts[no].metadata;
    metadata.Set(gguf::kSplitNoKey, static_cast<uint16_t>(no));
    metadata.Set(gguf::kSplitTensorsKey, static_cast<int32_t>(plan.tensors.size()));
    metadata.Set(gguf::kSplitCountKey, static_cast<uint16_t>(parts.size()));
  }
  return parts;
}

std::filesystem::path PartPath(const std::filesystem::path& path, size_t no, size_t count) {
  if (count == 1) return path;
  const std::string name = path.string();
  const std::string_view extension = ".gguf";
  const std::string_view prefix =
      std::string_view(name).substr(0, name.size() - (name.ends_with(extension) ? 5 : 0));
  return fmt::format("{}-{:05}-of-{:05}{}", prefix, no + 1, count, extension);
}

// One file of a plan that is not split any further.
class PartWriter {
 public:
  PartWriter(const std::filesystem::path& path, const CheckpointPlan& plan)
      : path_(path.string()), alignment_(Alignment(plan.metadata)), file_(path) {
    for (const TensorPlan& tensor : plan.tensors)
      tensors_.emplace_back(tensor.name, tensor.bytes());
    file_.Write(Head(plan, alignment_));
    FinishTensors();
  }

  bool complete() const { return current_ == tensors_.size(); }

  void Append(std::span<const uint8_t> bytes) {
    if (complete()) {
      FailUsage("{}: {} bytes after the last of {} tensors", path_, bytes.size(), tensors_.size());
    }
    const auto& [name, size] = tensors_[current_];
    if (bytes.size() > size - written_) {
      FailUsage("{}: tensor '{}': {} bytes are more than the {} that are left of {}", path_,
                Printable(name), bytes.size(), size - written_, size);
    }
    file_.Write(bytes);
    written_ += bytes.size();
    FinishTensors();
  }

  void Finish() {
    if (!complete()) {
      const auto& [name, size] = tensors_[current_];
      FailUsage("{}: tensor '{}': only {} of its {} bytes were written", path_, Printable(name),
                written_, size);
    }
    file_.Finish();
  }

  void Commit() { file_.Commit(); }

 private:
  // Pads the current tensor if it is complete, and passes over empty ones.
  void FinishTensors() {
    static constexpr uint8_t kZeros[4096] = {};
    while (current_ < tensors_.size() && written_ == tensors_[current_].second) {
      uint64_t padding = *CheckedRoundUp(written_, alignment_) - written_;
      for (; padding > 0; padding -= std::min<uint64_t>(padding, sizeof kZeros)) {
        file_.Write(std::span(kZeros, std::min<uint64_t>(padding, sizeof kZeros)));
      }
      ++current_;
      written_ = 0;
    }
  }

  std::string path_;
  uint64_t alignment_;
  AtomicFile file_;
  std::vector<std::pair<std::string, uint64_t>> tensors_;  // name, bytes
  size_t current_ = 0;                                     // the tensor being written
  uint64_t written_ = 0;                                   // bytes of it
};

class GgufWriter : public CheckpointWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const CheckpointPlan& plan)
      : path_(path), parts_(Parts(plan)) {
    for (const CheckpointPlan& part : parts_) CheckHead(part);
    Begin();
  }

  void Append(std::span<const uint8_t> bytes) override {
    if (bytes.empty()) return;
    while (files_.back()->complete() && files_.size() < parts_.size()) {
      files_.back()->Finish();
      Begin();
    }
    files_.back()->Append(bytes);
  }

  void Commit() override {
    // Empty tensors at the end may make up parts of their own.
    while (files_.back()->complete() && files_.size() < parts_.size()) {
      files_.back()->Finish();
      Begin();
    }
    files_.back()->Finish();
    for (size_t no = files_.size(); no-- > 0;) files_[no]->Commit();
  }

 private:
  static void CheckHead(const CheckpointPlan& part) { Head(part, Alignment(part.metadata)); }

  void Begin() {
    const size_t no = files_.size();
    files_.push_back(std::make_unique<PartWriter>(PartPath(path_, no, parts_.size()), parts_[no]));
  }

  std::filesystem::path path_;
  std::vector<CheckpointPlan> parts_;
  std::vector<std::unique_ptr<PartWriter>> files_;  // those that are complete, and the current one
};

}  // namespace

uint64_t GgufBytes(const CheckpointPlan& plan) {
  uint64_t bytes = 0;
  for (const CheckpointPlan& part : Parts(plan)) {
    const uint64_t alignment = Alignment(part.metadata);
    bytes += Head(part, alignment).size();
    for (const TensorPlan& tensor : part.tensors) {
      bytes += *CheckedRoundUp(tensor.bytes(), alignment);
    }
  }
  return bytes;
}

std::filesystem::path GgufOpened(const std::filesystem::path& path, const CheckpointPlan& plan) {
  return PartPath(path, 0, Parts(plan).size());
}

std::unique_ptr<CheckpointWriter> CreateGguf(const std::filesystem::path& path,
                                             const CheckpointPlan& plan) {
  return std::make_unique<GgufWriter>(path, plan);
}

}  // namespace halftone
