// A trie over bytes: which tokens does a text begin with?
//
// Nodes are numbers, 0 the root. The children are one flat hash table of (node, byte) with linear
// probing, at most half full.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace halftone {

class ByteTrie {
 public:
  ByteTrie() : slots_(64), tokens_(1, -1) {}

  // The token of a text that is inserted twice is the later one. An empty text is left out.
  void Insert(std::string_view text, int32_t token) {
    if (text.empty()) return;
    uint32_t node = 0;
    for (const char c : text) {
      uint32_t child = Child(node, static_cast<uint8_t>(c));
      if (child == 0) child = Add(node, static_cast<uint8_t>(c));
      node = child;
    }
    tokens_[node] = token;
  }

  // 0 where there is none.
  uint32_t Child(uint32_t node, uint8_t byte) const {
    const uint64_t key = Key(node, byte);
    for (size_t slot = Hash(key);; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot].key == key) return slots_[slot].child;
      if (slots_[slot].key == 0) return 0;
    }
  }
  // The token that ends at the node; -1: none.
  int32_t token(uint32_t node) const { return tokens_[node]; }

  struct Match {
    int32_t token = -1;
    size_t bytes = 0;
  };
  // The longest token that `text` begins with.
  Match Longest(std::string_view text) const {
    Match longest;
    uint32_t node = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      node = Child(node, static_cast<uint8_t>(text[at]));
      if (node == 0) break;
      if (tokens_[node] >= 0) longest = {tokens_[node], at + 1};
    }
    return longest;
  }

 private:
  struct Slot {
    uint64_t key = 0;  // 0: free
    uint32_t child = 0;
  };

  static uint64_t Key(uint32_t node, uint8_t byte) { return (uint64_t{node} << 8 | byte) + 1; }
  size_t Hash(uint64_t key) const {
    return static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> 20) & (slots_.size() - 1);
  }

  uint32_t Add(uint32_t node, uint8_t byte) {
    if (2 * (tokens_.size() + 1) > slots_.size()) Grow();
    const auto child = static_cast<uint32_t>(tokens_.size());
    tokens_.push_back(-1);
    Place({Key(node, byte), child});
    return child;
  }
  void Place(Slot entry) {
    size_t slot = Hash(entry.key);
    while (slots_[slot].key != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = entry;
  }
  void Grow() {
    std::vector<Slot> old(2 * slots_.size());
    std::swap(old, slots_);
    for (const Slot& entry : old) {
      if (entry.key != 0) Place(entry);
    }
  }

  std::vector<Slot> slots_;      // a power of two
  std::vector<int32_t> tokens_;  // by node
};

}  // namespace halftone
