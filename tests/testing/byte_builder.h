// Laying files out by hand, field by field, with no code of the library: what readers and writers
// are tested against, and how files are made that no writer would make.

#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace halftone {

class ByteBuilder {
 public:
  template <class T>
  ByteBuilder& Put(std::type_identity_t<T> value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof bytes);
    bytes_.append(bytes, sizeof bytes);
    return *this;
  }
  ByteBuilder& U32(uint32_t v) { return Put<uint32_t>(v); }
  ByteBuilder& U64(uint64_t v) { return Put<uint64_t>(v); }
  ByteBuilder& Raw(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  ByteBuilder& Zeros(size_t n) {
    bytes_.append(n, '\0');
    return *this;
  }
  ByteBuilder& PadTo(size_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    return *this;
  }

  // A string as GGUF has it.
  ByteBuilder& Text(std::string_view text) { return U64(text.size()).Raw(text); }
  // The beginning of a GGUF file.
  ByteBuilder& Gguf(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return Raw("GGUF").U32(version).U64(tensors).U64(keys);
  }
  // A tensor's entry in a GGUF file; extents innermost first.
  ByteBuilder& GgufTensor(std::string_view name, std::initializer_list<uint64_t> extents,
                          int32_t type, uint64_t offset) {
    Text(name).U32(static_cast<uint32_t>(extents.size()));
    for (const uint64_t extent : extents) U64(extent);
    return Put<int32_t>(type).U64(offset);
  }

  size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  operator std::string_view() const { return bytes_; }

 private:
  std::string bytes_;
};

// A .safetensors file: the length of the header, the header, the data.
inline std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  return ByteBuilder().U64(header.size()).Raw(header).Raw(data).bytes();
}

}  // namespace halftone
