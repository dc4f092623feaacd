// The parts of the translation from Hugging Face's tokenizer files to GGUF's metadata.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/metadata.h"

namespace halftone {

// The small files of a Hugging Face folder, by name. Their JSON may be nested without end: it must
// not be copied, compared or dumped, all of which recurse.
class HfDocuments {
 public:
  HfDocuments(const std::map<std::string, std::string>& texts, const std::string& source);

  const std::string& source() const { return source_; }
  // Null where the file is absent. A file that is there is a JSON object.
  const Json& tokenizer() const { return tokenizer_; }
  const Json& tokenizer_config() const { return tokenizer_config_; }
  const Json& config() const { return config_; }
  // chat_template.jinja, or the template in chat_template.json; null where there is neither.
  const Json& chat_template() const;

 private:
  Json Object(const std::map<std::string, std::string>& texts, const std::string& name) const;

  std::string source_;
  Json tokenizer_;
  Json tokenizer_config_;
  Json config_;
  Json template_file_;
};

// The member `key` of an object; null where `object` is none or lacks it.
const Json& Member(const Json& object, std::string_view key);

// A token's text where it is given as a string or as an object with "content"; else empty.
std::string TokenContent(const Json& token);

// tokenizer.ggml.pre for the "pre_tokenizer" of a byte-level tokenizer.json. Throws Error
// (kUnsupported) naming what is not known.
std::string_view HfPreTokenizer(const Json& tokenizer, const std::string& source);

// How a tokenizer.json with byte fallback, which came from SentencePiece, treats spaces. All of
// them become U+2581.
struct HfSpaces {
  enum class Prefix {
    kNever,
    kAlways,        // one goes before every text
    kMissing,       // the same, but not where the text begins with one
    kFirstMissing,  // the same, but not after a special token
  };
  Prefix prefix = Prefix::kNever;
  bool split = false;         // the text is cut before every one
  bool merge = false;         // those at the ends go, runs of them become one
  bool trim = false;          // those at the ends go
  std::string character_map;  // of SentencePiece (spm_normalizer.h); empty: none
};

// The spaces at a text's ends, literal marks at the second among them, which go where runs of
// spaces become one.
inline constexpr std::string_view kOuterSpaces = "\\A +|[ \u2581]+\\z";

// Throws Error (kUnsupported) for normalizers and pre-tokenizers that do anything else.
HfSpaces ReadHfSpaces(const Json& tokenizer, const std::string& source);

// Settings of word pieces, after SetHfSpecialTokens: how text is normalized, and the tokens around
// it. Throws Error (kUnsupported) for what wpm.cc does otherwise.
void SetHfWordPieces(const HfDocuments& documents, Metadata& metadata);

// tokenizer.ggml.*_token_id and add_*_token, then tokenizer.chat_template.
void SetHfSpecialTokens(const HfDocuments& documents, Metadata& metadata);
void SetHfChatTemplate(const HfDocuments& documents, Metadata& metadata);

// The same as TokenizerMetadataFromHf for a folder with a tokenizer.model, whose bytes these are,
// in place of a tokenizer.json.
Metadata MetadataFromSpmModel(const HfDocuments& files, std::string_view bytes, int64_t vocab_size);

// Throws Error unless `rows` of the embedding (0: unknown) suffice for `tokens`.
void CheckVocabularySize(int64_t tokens, int64_t rows, const std::string& source);

}  // namespace halftone
