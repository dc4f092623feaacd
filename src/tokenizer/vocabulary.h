// The part of tokenizer.ggml.* that every tokenizer model shares: token texts and types, the
// special ids, and cutting the special tokens out of a text.
//
//   tokenizer.ggml.tokens            [string]  texts, in the alphabet of the model
//   tokenizer.ggml.token_type        [i32]     TokenType; absent: all normal
//   tokenizer.ggml.scores            [f32]     "llama" only
//   tokenizer.ggml.bos_token_id ...  u32       an id outside the vocabulary counts as absent
//   tokenizer.ggml.add_bos_token, add_eos_token  bool
//
// Meaning and defaults are llama.cpp's (llama-vocab.cpp), also where it overrides the file: tokens
// known by their text to end a turn are control tokens whatever their type says.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/metadata.h"

namespace halftone {

enum class TokenType : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,  // "<0x0A>"
};

// What holds where the metadata is silent.
struct VocabularyDefaults {
  int32_t bos = -1;
  int32_t eos = -1;
  int32_t unknown = -1;
  bool add_bos = false;
  bool add_eos = false;
  bool must_add_bos = false;  // whatever the metadata says
};

// A stretch of a text: a special token, or text between two of them.
struct Fragment {
  int32_t token = -1;
  size_t begin = 0;
  size_t end = 0;
};

class Vocabulary {
 public:
  Vocabulary(const Metadata& metadata, const VocabularyDefaults& defaults,
             const std::string& source);
  Vocabulary(const Vocabulary&) = delete;  // ids_ looks into texts_
  Vocabulary& operator=(const Vocabulary&) = delete;

  int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  const std::string& text(int32_t id) const { return texts_[id]; }
  TokenType type(int32_t id) const { return types_[id]; }
  float score(int32_t id) const { return scores_.empty() ? 0.0f : scores_[id]; }
  bool Contains(int32_t id) const { return id >= 0 && id < size(); }

  // -1 where no token has this text.
  int32_t Find(std::string_view text) const;
  // The byte token "<0xHH>"; -1 where there is none.
  int32_t FindByte(uint8_t byte) const;

  int32_t bos() const { return bos_; }
  int32_t eos() const { return eos_; }
  int32_t unknown() const { return unknown_; }
  bool add_bos() const { return add_bos_; }
  bool add_eos() const { return add_eos_; }
  bool IsEndOfGeneration(int32_t id) const;
  // As Tokenizer::IsPadding.
  bool IsPadding(int32_t id) const;
  // Whether white space after the token belongs to it.
  bool StripsRight(int32_t id) const { return strips_right_[id]; }

  // Cuts user-defined tokens out of the text, and with `special` control and unknown tokens too.
  // Longer tokens first; among equally long ones the leftmost. White space after a token that
  // strips it (Phi-3's) belongs to no fragment.
  std::vector<Fragment> SplitSpecial(std::string_view text, bool special) const;

 private:
  void ReadTokens(const Metadata& metadata, const std::string& source);
  void ReadSpecialIds(const Metadata& metadata, const VocabularyDefaults& defaults);
  void MarkKnownTexts(const Metadata& metadata);
  void MarkEnds(const Metadata& metadata);
  void MarkStripping(const Metadata& metadata);
  void IndexSpecial();
  // The longest special token that begins at `begin` and ends before `limit`; token -1: none.
  Fragment LongestSpecial(std::string_view text, size_t begin, size_t limit, bool special) const;
  // The special tokens of a text, in order.
  std::vector<Fragment> FindSpecial(std::string_view text, bool special) const;
  // The child of a node, 0 where there is none.
  uint32_t Child(uint32_t node, uint8_t byte) const;

  std::vector<std::string> texts_;
  std::vector<TokenType> types_;
  std::vector<float> scores_;
  std::unordered_map<std::string_view, int32_t> ids_;
  int32_t bos_ = -1;
  int32_t eos_ = -1;
  int32_t unknown_ = -1;
  bool add_bos_ = false;
  bool add_eos_ = false;
  std::vector<bool> ends_generation_;
  std::vector<bool> strips_right_;

  // The special tokens as a trie over bytes; node 0 is the root.
  struct TrieNode {
    int32_t token = -1;
    std::vector<std::pair<uint8_t, uint32_t>> next;
  };
  std::vector<TrieNode> trie_;
  uint32_t trie_first_[256] = {};  // the root's children; 0: none
};

}  // namespace halftone
