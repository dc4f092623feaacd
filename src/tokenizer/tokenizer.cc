#include "tokenizer/tokenizer.h"

#include <charconv>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

struct TokenizerModel {
  std::string_view name;
  std::unique_ptr<Tokenizer> (*create)(const Metadata& metadata, const std::string& source);
};

constexpr TokenizerModel kModels[] = {{"gpt2", NewBpeTokenizer},
                                      {"llama", NewSpmTokenizer},
                                      {"gemma4", NewMergedSpmTokenizer},
                                      {"t5", NewUgmTokenizer},
                                      {"bert", NewWpmTokenizer},
                                      {"rwkv", NewRwkvTokenizer},
                                      {"plamo2", NewPlamoTokenizer},
                                      {"hybriddna", NewDnaTokenizer},
                                      {"whitespace", NewWhitespaceTokenizer}};

// "<0x0A>" -> byte 0x0A; the text itself where it has another form.
std::string DecodeByteToken(const std::string& text) {
  unsigned byte = 0;
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return text;
  const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  if (error != std::errc() || end != text.data() + 5) return text;
  return std::string(1, static_cast<char>(byte));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::FromMetadata(const Metadata& metadata,
                                                   const std::string& source) {
  const std::string* name = metadata.String("tokenizer.ggml.model");
  if (name == nullptr) FailFormat("{}: tokenizer.ggml.model is missing", source);
  for (const TokenizerModel& model : kModels) {
    if (model.name == *name) return model.create(metadata, source);
  }
  FailUnsupported("{}: tokenizer.ggml.model '{}' is not supported", source, Printable(*name));
}

std::vector<int32_t> VocabularyTokenizer::Encode(std::string_view text, bool special) const {
  std::vector<int32_t> ids;
  if (special && vocabulary_.add_bos()) ids.push_back(vocabulary_.bos());
  const std::unique_ptr<Workspace> workspace = NewWorkspace();
  for (const Fragment& fragment : vocabulary_.SplitSpecial(text, special)) {
    if (fragment.token >= 0) {
      ids.push_back(fragment.token);
    } else {
      EncodeFragment(text.substr(fragment.begin, fragment.end - fragment.begin),
                     fragment.begin == 0, *workspace, ids);
    }
  }
  if (special && vocabulary_.add_eos()) ids.push_back(vocabulary_.eos());
  return ids;
}

std::string VocabularyTokenizer::TokenText(int32_t id, bool special) const {
  if (!vocabulary_.Contains(id)) {
    FailUsage("token {} is outside the vocabulary of {} tokens", id, vocabulary_.size());
  }
  const std::string& text = vocabulary_.text(id);
  switch (vocabulary_.type(id)) {
    case TokenType::kControl:
    case TokenType::kUnknown:
      return special ? text : std::string();
    case TokenType::kUnused:
      return {};
    case TokenType::kUserDefined:
      return text;
    case TokenType::kByte:
      return DecodeByteToken(text);
    case TokenType::kNormal:
    case TokenType::kUndefined:
      break;
  }
  return DecodeText(text);
}

}  // namespace halftone
