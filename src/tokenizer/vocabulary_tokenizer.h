// What the tokenizers of every model share: special tokens, bos and eos around the algorithm
// proper.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace halftone {

class VocabularyTokenizer : public Tokenizer {
 public:
  VocabularyTokenizer(const Metadata& metadata, const VocabularyDefaults& defaults,
                      const std::string& source)
      : vocabulary_(metadata, defaults, source) {}

  std::vector<int32_t> Encode(std::string_view text, bool special) const override;
  std::string TokenText(int32_t id, bool special) const override;
  int64_t vocabulary() const override { return vocabulary_.size(); }
  int32_t bos() const override { return vocabulary_.bos(); }
  int32_t eos() const override { return vocabulary_.eos(); }
  bool add_bos() const override { return vocabulary_.add_bos(); }
  bool IsEndOfGeneration(int32_t id) const override { return vocabulary_.IsEndOfGeneration(id); }
  bool IsPadding(int32_t id) const override { return vocabulary_.IsPadding(id); }

 protected:
  // Scratch memory of one Encode call, in whatever form the algorithm wants.
  struct Workspace {
    virtual ~Workspace() = default;
  };
  virtual std::unique_ptr<Workspace> NewWorkspace() const = 0;

  // Appends the tokens of a text without special tokens, never empty, that lies between two special
  // tokens or the input's ends. `first`: the input begins with it.
  virtual void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                              std::vector<int32_t>& ids) const = 0;

  // The bytes of a normal token.
  virtual std::string DecodeText(const std::string& text) const = 0;

  const Vocabulary vocabulary_;
};

// tokenizer.ggml.model "gpt2": byte-level byte-pair encoding (bpe.cc).
std::unique_ptr<Tokenizer> NewBpeTokenizer(const Metadata& metadata, const std::string& source);

// tokenizer.ggml.model "llama": SentencePiece's pair merging by score (spm.cc).
std::unique_ptr<Tokenizer> NewSpmTokenizer(const Metadata& metadata, const std::string& source);

// "gemma4", and "gpt2" with a tokenizer.ggml.pre whose tokens are text instead of bytes: the same
// by a list of merges (spm.cc).
std::unique_ptr<Tokenizer> NewMergedSpmTokenizer(const Metadata& metadata,
                                                 const std::string& source);

// "t5": SentencePiece's unigram model (ugm.cc).
std::unique_ptr<Tokenizer> NewUgmTokenizer(const Metadata& metadata, const std::string& source);

// "bert": word pieces (wpm.cc).
std::unique_ptr<Tokenizer> NewWpmTokenizer(const Metadata& metadata, const std::string& source);

// "plamo2": the largest sum of scores, with bytes (plamo.cc).
std::unique_ptr<Tokenizer> NewPlamoTokenizer(const Metadata& metadata, const std::string& source);

// "hybriddna" and "whitespace": pairs within segments (segmented.cc).
std::unique_ptr<Tokenizer> NewDnaTokenizer(const Metadata& metadata, const std::string& source);
std::unique_ptr<Tokenizer> NewWhitespaceTokenizer(const Metadata& metadata,
                                                  const std::string& source);

// "rwkv": the longest token first (rwkv.cc).
std::unique_ptr<Tokenizer> NewRwkvTokenizer(const Metadata& metadata, const std::string& source);

}  // namespace halftone
