// tokenizer.model to tokenizer.ggml.*, for folders without a tokenizer.json.
//
// Unigram models become "t5", byte-pair models "llama". Pieces keep their ids, texts, scores and
// types, whose numbers GGUF took over. tokenizer_config.json adds tokens behind the pieces
// (added_tokens_decoder) and says which of them are bos and eos and whether these are added;
// tokenizer.model has ids of its own for the rest. How spaces are treated stands in keys that
// llama.cpp reads for "t5" only; a "llama" whose normalizer replaces characters is another
// tokenizer there.

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/hf_tokenizer.h"
#include "tokenizer/spm_model.h"

namespace halftone {
namespace {

constexpr float kAddedScore = -1000;

struct Tokens {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;

  void Set(size_t id, std::string text, float score, TokenType type) {
    texts[id] = std::move(text);
    scores[id] = score;
    types[id] = static_cast<int32_t>(type);
  }
};

// added_tokens_decoder: {"32000": {"content": "<tool>", "special": true} ...}.
struct AddedToken {
  size_t id = 0;
  std::string text;
  bool special = false;
};

std::vector<AddedToken> AddedTokens(const HfDocuments& files, const std::string& source) {
  std::vector<AddedToken> tokens;
  const Json& decoder = Member(files.tokenizer_config(), "added_tokens_decoder");
  if (!decoder.is_object()) return tokens;
  for (const auto& [key, token] : decoder.items()) {
    const bool number =
        !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!number) {
      FailFormat("{}: '{}' in added_tokens_decoder of tokenizer_config.json is no id", source,
                 Printable(key));
    }
    const std::string text = TokenContent(token);
    if (text.empty()) continue;
    tokens.push_back({std::stoul(key), text, Member(token, "special") == true});
  }
  return tokens;
}

Tokens ReadTokens(const SpmModel& model, const std::vector<AddedToken>& added, int64_t vocab_size,
                  const std::string& source) {
  size_t size = model.pieces.size();
  for (const AddedToken& token : added) size = std::max(size, token.id + 1);
  CheckVocabularySize(static_cast<int64_t>(size), vocab_size, source);
  if (vocab_size > 0) size = static_cast<size_t>(vocab_size);
  Tokens tokens;
  tokens.texts.resize(size);
  tokens.scores.resize(size);
  tokens.types.resize(size);
  for (size_t id = 0; id < size; ++id) {
    if (id < model.pieces.size()) {
      const SpmPiece& piece = model.pieces[id];
      tokens.Set(id, piece.text, piece.score, piece.type);
    } else {
      tokens.Set(id, fmt::format("[PAD{}]", id), 10 * kAddedScore, TokenType::kUnused);
    }
  }
  for (const AddedToken& token : added) {
    const auto type = static_cast<TokenType>(tokens.types[token.id]);
    // Control and unknown pieces are listed there too.
    if (type == TokenType::kControl || type == TokenType::kUnknown) continue;
    tokens.Set(token.id, token.text, kAddedScore,
               token.special ? TokenType::kControl : TokenType::kUserDefined);
  }
  return tokens;
}

void CheckModel(const SpmModel& model, const std::string& source) {
  if (model.pieces.empty()) FailFormat("{}: tokenizer.model has no pieces", source);
  if (model.kind != SpmModel::Kind::kUnigram && model.kind != SpmModel::Kind::kBpe) {
    FailUnsupported("{}: tokenizer.model is neither a unigram nor a byte-pair model", source);
  }
  if (model.space_as_suffix || !model.escape_spaces) {
    FailUnsupported("{}: tokenizer.model treats spaces in a way that is not supported", source);
  }
}

void SetSpecialIds(const SpmModel& model, const HfDocuments& files, const Tokens& tokens,
                   Metadata& metadata) {
  const auto set = [&](std::string_view role, std::string_view name, int32_t own) {
    int64_t id = own;
    const std::string text =
        TokenContent(Member(files.tokenizer_config(), std::string(name) + "_token"));
    for (size_t i = 0; i < tokens.texts.size() && !text.empty(); ++i) {
      if (tokens.texts[i] == text) id = static_cast<int64_t>(i);
    }
    if (id < 0 || id >= static_cast<int64_t>(tokens.texts.size())) return;
    metadata.Set(fmt::format("tokenizer.ggml.{}_token_id", role), static_cast<uint32_t>(id));
  };
  set("bos", "bos", model.bos);
  set("eos", "eos", model.eos);
  set("unknown", "unk", model.unknown);
  set("padding", "pad", model.pad);
  for (const char* name : {"bos", "eos"}) {
    const Json& add = Member(files.tokenizer_config(), std::string("add_") + name + "_token");
    if (add.is_boolean()) {
      metadata.Set(fmt::format("tokenizer.ggml.add_{}_token", name), add.get<bool>());
    }
  }
}

}  // namespace

Metadata MetadataFromSpmModel(const HfDocuments& files, std::string_view bytes,
                              int64_t vocab_size) {
  const std::string& source = files.source();
  const SpmModel model = ReadSpmModel(bytes, source + "/tokenizer.model");
  CheckModel(model, source);
  Tokens tokens = ReadTokens(model, AddedTokens(files, source), vocab_size, source);
  const bool unigram = model.kind == SpmModel::Kind::kUnigram;
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string(unigram ? "t5" : "llama"));
  metadata.Set("tokenizer.ggml.pre", std::string("default"));
  SetSpecialIds(model, files, tokens, metadata);
  metadata.Set("tokenizer.ggml.tokens", Array{std::move(tokens.texts)});
  metadata.Set("tokenizer.ggml.scores", Array{std::move(tokens.scores)});
  metadata.Set("tokenizer.ggml.token_type", Array{std::move(tokens.types)});
  metadata.Set("tokenizer.ggml.add_space_prefix", model.add_space_prefix);
  metadata.Set("tokenizer.ggml.remove_extra_whitespaces", model.remove_extra_spaces);
  if (!model.character_map.empty()) {
    metadata.Set(
        "tokenizer.ggml.precompiled_charsmap",
        Array{std::vector<uint8_t>(model.character_map.begin(), model.character_map.end())});
  }
  SetHfChatTemplate(files, metadata);
  return metadata;
}

}  // namespace halftone
