#include "tokenizer/merge_table.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "tokenizer/byte_alphabet.h"

namespace halftone {

MergeTable::MergeTable(const Vocabulary& vocabulary, const std::vector<std::string>& merges,
                       const std::string& source)
    : vocabulary_size_(vocabulary.size()) {
  // Each merge may add three symbols that are no tokens.
  if (merges.size() > (INT32_MAX - vocabulary.size() - 256) / 3u) {
    FailFormat("{}: tokenizer.ggml.merges is too long", source);
  }
  const uint64_t capacity = std::bit_ceil(std::max<uint64_t>(2 * merges.size(), 2));
  slots_.resize(capacity);
  mask_ = capacity - 1;
  shift_ = 64 - std::countr_zero(capacity);
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    bytes_[byte] = Symbol(EncodeByteAlphabet({&c, 1}), vocabulary);
  }
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) {
      FailFormat("{}: entry {} of tokenizer.ggml.merges is no pair", source, rank);
    }
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(space + 1);
    const int32_t result = Symbol(std::string(left).append(right), vocabulary);
    Insert(Symbol(left, vocabulary), Symbol(right, vocabulary),
           {static_cast<int32_t>(rank), result});
  }
  extra_ids_.clear();
}

int32_t MergeTable::Symbol(std::string_view text, const Vocabulary& vocabulary) {
  const int32_t id = vocabulary.Find(text);
  if (id >= 0) return id;
  const auto [it, added] = extra_ids_.try_emplace(
      std::string(text), vocabulary_size_ + static_cast<int32_t>(extra_.size()));
  if (added) extra_.push_back(DecodeByteAlphabet(text));
  return it->second;
}

void MergeTable::Insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = Key(left, right);
  for (uint64_t slot = Hash(key);; slot = (slot + 1) & mask_) {
    if (slots_[slot].key == key) return;  // the first, stronger entry stays
    if (slots_[slot].key == kFree) {
      slots_[slot] = {key, merge};
      return;
    }
  }
}

}  // namespace halftone
