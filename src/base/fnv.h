// 64 bits of FNV-1a: tells inputs apart, resists nobody.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace halftone {

class Fnv {
 public:
  void Add(std::span<const uint8_t> bytes) {
    for (const uint8_t byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001B3u;
  }
  // A text and its end, so that two texts are not their concatenation.
  void Add(std::string_view text) {
    Add(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
    Add(std::span<const uint8_t>(&kEnd, 1));
  }
  uint64_t hash() const { return hash_; }

 private:
  static constexpr uint8_t kEnd = 0;
  uint64_t hash_ = 0xCBF29CE484222325u;
};

}  // namespace halftone
