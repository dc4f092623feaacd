// What the writers of all kinds of vocabularies share: roles, added tokens, and the frame of
// tokenizer.json. A kind says its model and what happens to a text before and after it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/json.h"
#include "tensor/metadata.h"
#include "tokenizer/vocabulary.h"

namespace halftone {

class HfWriter {
 public:
  HfWriter(const Metadata& metadata, const VocabularyDefaults& defaults, const std::string& source)
      : metadata_(metadata), source_(source), vocabulary_(metadata, defaults, source) {}
  virtual ~HfWriter() = default;

  OrderedJson TokenizerJson() const;
  // The texts of the roles that the metadata fill or the model implies.
  OrderedJson SpecialTokens() const;

  bool add_bos() const { return vocabulary_.add_bos(); }
  bool add_eos() const { return vocabulary_.add_eos(); }

 protected:
  virtual OrderedJson Normalizer() const = 0;
  virtual OrderedJson PreTokenizerJson() const = 0;
  virtual OrderedJson Decoder() const = 0;
  virtual OrderedJson Model() const = 0;
  // The tokens around a text; -1: none.
  virtual int32_t first() const { return add_bos() ? vocabulary_.bos() : -1; }
  virtual int32_t last() const { return add_eos() ? vocabulary_.eos() : -1; }
  // Whether the second of two texts has the first token in front of it, too.
  virtual bool begins_second() const { return true; }

  // The ids by text, as a vocabulary of pairs has them: without padding.
  OrderedJson VocabularyJson() const;
  // `byte_fallback`: what no merge reaches becomes bytes, unknown ones in a row are one.
  OrderedJson Bpe(bool byte_fallback, bool ignore_merges, OrderedJson merges) const;
  // The text of the unknown token, or null.
  OrderedJson Unknown() const;
  // A token's text as tokenizer.json has it.
  virtual std::string TextOf(int32_t id) const { return vocabulary_.text(id); }

  const Metadata& metadata_;
  const std::string& source_;
  const Vocabulary vocabulary_;

 private:
  int32_t IdOf(std::string_view role, std::string_view key) const;
  bool IsAdded(int32_t id) const;
  OrderedJson AddedTokens() const;
  OrderedJson PostProcessor() const;
};

// tokenizer.ggml.model "t5" and "bert".
std::unique_ptr<HfWriter> NewHfUnigramWriter(const Metadata& metadata, const std::string& source);
std::unique_ptr<HfWriter> NewHfWordPieceWriter(const Metadata& metadata, const std::string& source);

}  // namespace halftone
