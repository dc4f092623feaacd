// Typed key-value metadata of a checkpoint, in the type system of GGUF, which is the richest of the
// containers'. Order is kept, since writers must reproduce files.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace halftone {

// Alternatives are in the order of the GGUF value type ids (uint8 = 0 ... float64 = 12), so that
// index() is the id; arrays hold their elements in a typed vector.
struct Array {
  // Alternative i holds elements of GGUF type i; 9 (array of arrays) is never stored. bool elements
  // are one byte each.
  struct Nested {};
  struct Bool {
    std::vector<uint8_t> values;
  };
  std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
               std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
               std::vector<float>, Bool, std::vector<std::string>, Nested, std::vector<uint64_t>,
               std::vector<int64_t>, std::vector<double>>
      elements;

  size_t size() const;
};

using Value = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool,
                           std::string, Array, uint64_t, int64_t, double>;

// "u32", "string", "array": what a person calls the type.
std::string_view TypeName(const Value& value);

// The value for a person: numbers and strings as they are, arrays shortened to `limit` elements
// and strings to `limit` * 16 bytes.
std::string ValueText(const Value& value, size_t limit = 4);

class Metadata {
 public:
  // Null where there is none.
  const Value* Find(std::string_view key) const;

  // The value in the asked type: any integer type (or bool) converts to int64 if it fits, any
  // number to double. None where the key is absent or of another type.
  std::optional<int64_t> Int(std::string_view key) const;
  std::optional<double> Float(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  // Null where the key is absent or of another type. Valid until the metadata changes.
  const std::string* String(std::string_view key) const;
  const std::vector<std::string>* Strings(std::string_view key) const;
  // Integer arrays of any width, converted; none where absent or no integer array.
  std::optional<std::vector<int64_t>> Ints(std::string_view key) const;
  const std::vector<float>* Floats(std::string_view key) const;

  // Replaces the value of an existing key in place, or appends.
  void Set(std::string_view key, Value value);
  // Appends a key that the caller knows to be new, without the search of Set(): readers of files
  // with many keys would take quadratic time otherwise.
  void Append(std::string key, Value value);
  void Erase(std::string_view key);

  const std::vector<std::pair<std::string, Value>>& entries() const { return entries_; }

 private:
  std::vector<std::pair<std::string, Value>> entries_;
};

}  // namespace halftone
