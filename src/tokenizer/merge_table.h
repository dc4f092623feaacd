// The merges of byte-pair encoding: pair of symbols -> rank and the symbol that they become.
//
// A symbol is a text in the byte alphabet. Those of the vocabulary are numbered by their token id;
// texts that occur in merges only come after them and are no tokens. The pair table is a flat hash
// table with linear probing at most half full, since every step of an encoding ends in a look-up
// that usually finds nothing.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace halftone {

struct Merge {
  int32_t rank = INT32_MAX;  // INT32_MAX: the pair does not merge
  int32_t result = -1;
};

class MergeTable {
 public:
  // `merges` holds "left right", cut at the first space after the first byte, the earlier the
  // stronger. Throws Error (kFormat), naming `source`, for an entry without a space.
  MergeTable(const Vocabulary& vocabulary, const std::vector<std::string>& merges,
             const std::string& source);

  Merge Find(int32_t left, int32_t right) const {
    const uint64_t key = Key(left, right);
    for (uint64_t slot = Hash(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kFree) return {};
    }
  }

  // The symbol of a single byte.
  int32_t Byte(uint8_t byte) const { return bytes_[byte]; }
  // The bytes of a symbol that is no token.
  const std::string& ExtraBytes(int32_t symbol) const { return extra_[symbol - vocabulary_size_]; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  uint64_t Hash(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  int32_t Symbol(std::string_view text, const Vocabulary& vocabulary);
  void Insert(int32_t left, int32_t right, Merge merge);

  std::vector<Slot> slots_;
  uint64_t mask_ = 0;
  int shift_ = 0;
  int32_t bytes_[256];
  int32_t vocabulary_size_;
  std::vector<std::string> extra_;
  std::unordered_map<std::string, int32_t> extra_ids_;
};

}  // namespace halftone
