#include "tensor/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

namespace halftone {
namespace {

constexpr std::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};

template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;

std::string Shortened(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  // Never cuts a UTF-8 sequence in two.
  size_t end = limit;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace

size_t Array::size() const {
  return std::visit(
      [](const auto& e) -> size_t {
        using T = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<T, Nested>) {
          return 0;
        } else if constexpr (std::is_same_v<T, Bool>) {
          return e.values.size();
        } else {
          return e.size();
        }
      },
      elements);
}

std::string_view TypeName(const Value& value) { return kTypeNames[value.index()]; }

std::string ValueText(const Value& value, size_t limit) {
  return std::visit(
      [&](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return Shortened(v, limit * 16);
        } else if constexpr (std::is_same_v<T, Array>) {
          std::string text = "[";
          std::visit(
              [&](const auto& e) {
                using E = std::decay_t<decltype(e)>;
                if constexpr (kIsVector<E>) {
                  for (size_t i = 0; i < std::min(limit, e.size()); ++i) {
                    text += fmt::format("{}{}", i ? ", " : "", e[i]);
                  }
                } else if constexpr (std::is_same_v<E, Array::Bool>) {
                  for (size_t i = 0; i < std::min(limit, e.values.size()); ++i) {
                    text += fmt::format("{}{}", i ? ", " : "", e.values[i] != 0);
                  }
                }
              },
              v.elements);
          if (v.size() > limit) text += fmt::format(", ... {} in all", v.size());
          return text + "]";
        } else {
          return fmt::format("{}", v);
        }
      },
      value);
}

const Value* Metadata::Find(std::string_view key) const {
  const auto it = std::ranges::find(entries_, key, &std::pair<std::string, Value>::first);
  return it == entries_.end() ? nullptr : &it->second;
}

std::optional<int64_t> Metadata::Int(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& v) -> std::optional<int64_t> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, uint64_t>) {
          if (v > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
          return static_cast<int64_t>(v);
        } else if constexpr (std::is_integral_v<T>) {
          return static_cast<int64_t>(v);
        } else {
          return std::nullopt;
        }
      },
      *value);
}

std::optional<double> Metadata::Float(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& v) -> std::optional<double> {
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>) {
          return static_cast<double>(v);
        } else {
          return std::nullopt;
        }
      },
      *value);
}

std::optional<bool> Metadata::Bool(std::string_view key) const {
  const auto v = Int(key);
  return v ? std::optional<bool>(*v != 0) : std::nullopt;
}

const std::string* Metadata::String(std::string_view key) const {
  const Value* value = Find(key);
  return value ? std::get_if<std::string>(value) : nullptr;
}

const std::vector<std::string>* Metadata::Strings(std::string_view key) const {
  const Value* value = Find(key);
  const Array* array = value ? std::get_if<Array>(value) : nullptr;
  return array ? std::get_if<std::vector<std::string>>(&array->elements) : nullptr;
}

std::optional<std::vector<int64_t>> Metadata::Ints(std::string_view key) const {
  const Value* value = Find(key);
  const Array* array = value ? std::get_if<Array>(value) : nullptr;
  if (array == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& e) -> std::optional<std::vector<int64_t>> {
        using T = std::decay_t<decltype(e)>;
        if constexpr (kIsVector<T>) {
          if constexpr (std::is_integral_v<typename T::value_type>) {
            return std::vector<int64_t>(e.begin(), e.end());
          }
        }
        return std::nullopt;
      },
      array->elements);
}

const std::vector<float>* Metadata::Floats(std::string_view key) const {
  const Value* value = Find(key);
  const Array* array = value ? std::get_if<Array>(value) : nullptr;
  return array ? std::get_if<std::vector<float>>(&array->elements) : nullptr;
}

void Metadata::Set(std::string_view key, Value value) {
  const auto it = std::ranges::find(entries_, key, &std::pair<std::string, Value>::first);
  if (it != entries_.end()) {
    it->second = std::move(value);
  } else {
    entries_.emplace_back(key, std::move(value));
  }
}

void Metadata::Append(std::string key, Value value) {
  entries_.emplace_back(std::move(key), std::move(value));
}

void Metadata::Erase(std::string_view key) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; });
}

}  // namespace halftone
