// What SentencePiece does to a text before it cuts it: characters are replaced, runs of spaces
// become one, a space goes in front, and every space becomes U+2581.
//
//   tokenizer.ggml.precompiled_charsmap      u32 bytes of the trie | trie | texts that end with NUL
//   tokenizer.ggml.remove_extra_whitespaces  spaces at the ends go, runs of them become one
//   tokenizer.ggml.add_space_prefix          a space goes before a text that begins the input or
//                                            follows a special token
//   tokenizer.halftone.space_prefix          "missing": a text that begins with a space gets no
//                                            further one; "first": nor does a text that follows a
//                                            special token. llama.cpp ignores this key.
//
// The trie is a double array of darts-clone (github.com/s-yata/darts-clone): a u32 each, with the
// byte that leads there in bits 0-7, whether a value follows in bit 8, and the offset of the
// children, XORed with the place, in bits 10-30, times 256 where bit 9 is set. A value (bit 31) is
// the place of the replacement among the texts. The longest match counts.
//
// Source: github.com/google/sentencepiece, normalizer.cc.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/metadata.h"

namespace halftone {

class CharacterMap {
 public:
  CharacterMap() = default;  // replaces nothing
  // Throws Error (kFormat), naming `source`, unless sizes and ends are as they must be.
  CharacterMap(std::string_view blob, const std::string& source);

  bool empty() const { return units_.empty(); }

  struct Match {
    std::string_view replacement;
    size_t bytes = 0;  // of the text that it replaces; 0: nothing
  };
  Match Longest(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string texts_;
};

class SpmNormalizer {
 public:
  // `prefix`: what holds where the metadata does not speak of add_space_prefix. Throws Error naming
  // `source`.
  SpmNormalizer(const Metadata& metadata, bool prefix, const std::string& source);

  // `first`: the input begins with `text`.
  void Normalize(std::string_view text, bool first, std::string& normalized) const;

 private:
  enum class SpacePrefix { kNever, kAlways, kMissing, kFirstMissing };

  static SpacePrefix ReadSpacePrefix(const Metadata& metadata, bool prefix,
                                     const std::string& source);
  bool NeedsPrefix(std::string_view text, bool first) const;
  void Replace(std::string_view text, std::string& replaced) const;

  SpacePrefix space_prefix_;
  bool merge_spaces_;
  CharacterMap map_;
};

}  // namespace halftone
