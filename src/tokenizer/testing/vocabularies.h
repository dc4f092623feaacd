// Vocabularies made by hand, for tests.

#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor/metadata.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

using Strings = std::vector<std::string>;

// A byte-level vocabulary: the 256 bytes, then what the merges make, then `more` with their types.
class BpeVocabulary {
 public:
  explicit BpeVocabulary(Strings merges = {}) : merges_(std::move(merges)) {
    for (int byte = 0; byte < 256; ++byte) {
      tokens_.push_back(EncodeByteAlphabet(std::string(1, static_cast<char>(byte))));
    }
    for (std::string merge : merges_) {
      merge.erase(merge.find(' ', 1), 1);
      if (std::ranges::find(tokens_, merge) == tokens_.end()) tokens_.push_back(merge);
    }
    types_.assign(tokens_.size(), 1);
  }

  int32_t Add(const std::string& text, int32_t type) {
    tokens_.push_back(text);
    types_.push_back(type);
    return static_cast<int32_t>(tokens_.size()) - 1;
  }

  Metadata Get(const std::string& pre = "gpt-2") const {
    Metadata metadata;
    metadata.Set("tokenizer.ggml.model", std::string("gpt2"));
    metadata.Set("tokenizer.ggml.pre", pre);
    metadata.Set("tokenizer.ggml.tokens", Array{tokens_});
    metadata.Set("tokenizer.ggml.token_type", Array{types_});
    metadata.Set("tokenizer.ggml.merges", Array{merges_});
    return metadata;
  }

  const Strings& tokens() const { return tokens_; }

 private:
  Strings merges_;
  Strings tokens_;
  std::vector<int32_t> types_;
};

struct SpmVocabulary {
  Strings tokens = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores = {0, 0, 0};
  std::vector<int32_t> types = {2, 3, 3};

  int32_t Add(const std::string& text, float score, int32_t type = 1) {
    tokens.push_back(text);
    scores.push_back(score);
    types.push_back(type);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  void AddBytes() {
    for (int byte = 0; byte < 256; ++byte) Add(fmt::format("<0x{:02X}>", byte), 0, 6);
  }

  Metadata Get() const {
    Metadata metadata;
    metadata.Set("tokenizer.ggml.model", std::string("llama"));
    metadata.Set("tokenizer.ggml.tokens", Array{tokens});
    metadata.Set("tokenizer.ggml.scores", Array{scores});
    metadata.Set("tokenizer.ggml.token_type", Array{types});
    return metadata;
  }
};

inline std::unique_ptr<Tokenizer> Make(const Metadata& metadata) {
  return Tokenizer::FromMetadata(metadata, "model.gguf");
}

}  // namespace halftone
