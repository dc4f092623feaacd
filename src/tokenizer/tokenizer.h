// Text to token ids and back.
//
// A tokenizer is described by GGUF's tokenizer.ggml.* metadata; tokenizer.json of Hugging Face is
// translated to that description first (hf_tokenizer.cc), so there is one implementation of each
// algorithm.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/metadata.h"

namespace halftone {

class Tokenizer {
 public:
  // From GGUF metadata. `source` names the file in errors. Throws Error (kUnsupported) for an
  // unknown tokenizer.ggml.model or .pre, kFormat for missing or inconsistent keys.
  static std::unique_ptr<Tokenizer> FromMetadata(const Metadata& metadata,
                                                 const std::string& source);

  virtual ~Tokenizer() = default;

  // With `special`, the texts of control and user-defined tokens inside `text` become those tokens,
  // and bos/eos are added where the tokenizer says so (add_bos_token, add_eos_token). Without,
  // control tokens are spelled out as ordinary text and nothing is added. Invalid UTF-8 is
  // tokenized byte by byte like everything else.
  virtual std::vector<int32_t> Encode(std::string_view text, bool special) const = 0;

  // The bytes of a token; control tokens are empty unless `special`. Throws Error (kUsage) for an
  // id outside the vocabulary.
  virtual std::string TokenText(int32_t id, bool special) const = 0;

  virtual int64_t vocabulary() const = 0;
  virtual int32_t bos() const = 0;  // -1: none
  virtual int32_t eos() const = 0;  // -1: none
  virtual bool add_bos() const = 0;
  // Whether generation ends at this token (eos, end of turn, end of message).
  virtual bool IsEndOfGeneration(int32_t id) const = 0;
  // Whether no token stands behind the id: beyond the vocabulary, or an unused "[PADn]" at n, which
  // makes a vocabulary as long as the embedding's rows are.
  virtual bool IsPadding(int32_t id) const = 0;
};

// Translates tokenizer.json and tokenizer_config.json (empty if absent) to GGUF's tokenizer.ggml.*
// and tokenizer.chat_template metadata, as llama.cpp's converter writes them, types included.
// vocab_size: rows of the embedding; ids beyond the tokenizer's are padded as unused "[PADn]".
// Throws Error naming `source`.
Metadata TokenizerMetadataFromHf(const std::map<std::string, std::string>& documents,
                                 int64_t vocab_size, const std::string& source);

}  // namespace halftone
