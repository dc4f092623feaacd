#include "tokenizer/hf_writer.h"

#include <string_view>
#include <utility>
#include <vector>

namespace halftone {
namespace {

struct Role {
  std::string_view name;  // of tokenizer_config.json
  std::string_view key;
};

constexpr Role kRoles[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                           {"sep_token", "tokenizer.ggml.seperator_token_id"},
                           {"pad_token", "tokenizer.ggml.padding_token_id"},
                           {"mask_token", "tokenizer.ggml.mask_token_id"}};

}  // namespace

OrderedJson HfWriter::TokenizerJson() const {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokens()},
          {"normalizer", Normalizer()},
          {"pre_tokenizer", PreTokenizerJson()},
          {"post_processor", PostProcessor()},
          {"decoder", Decoder()},
          {"model", Model()}};
}

OrderedJson HfWriter::SpecialTokens() const {
  OrderedJson tokens = OrderedJson::object();
  for (const Role& role : kRoles) {
    const int32_t id = IdOf(role.name, role.key);
    if (id >= 0) tokens[std::string(role.name)] = vocabulary_.text(id);
  }
  return tokens;
}

OrderedJson HfWriter::VocabularyJson() const {
  OrderedJson::object_t vocabulary;
  vocabulary.reserve(static_cast<size_t>(vocabulary_.size()));
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    // Of tokens with one text, one is meant by it.
    if (vocabulary_.IsPadding(id) || vocabulary_.Find(vocabulary_.text(id)) != id) continue;
    // Emplacing in an ordered object looks for the key first, at a cost linear in its size.
    static_cast<std::vector<OrderedJson::object_t::value_type>&>(vocabulary)
        .emplace_back(TextOf(id), id);
  }
  return vocabulary;
}

OrderedJson HfWriter::Bpe(bool byte_fallback, bool ignore_merges, OrderedJson merges) const {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", Unknown()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", byte_fallback},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", ignore_merges},
          {"vocab", VocabularyJson()},
          {"merges", std::move(merges)}};
}

OrderedJson HfWriter::Unknown() const {
  const int32_t id = vocabulary_.unknown();
  return id < 0 ? OrderedJson() : OrderedJson(vocabulary_.text(id));
}

int32_t HfWriter::IdOf(std::string_view role, std::string_view key) const {
  int32_t id = role == "bos_token"   ? vocabulary_.bos()
               : role == "eos_token" ? vocabulary_.eos()
               : role == "unk_token" ? vocabulary_.unknown()
                                     : -1;
  const auto given = metadata_.Int(key);
  if (given && *given >= 0 && *given < vocabulary_.size()) id = static_cast<int32_t>(*given);
  // What has a role in tokenizer_config.json is cut out of every text. The id that stands for a
  // missing one may be a comma's.
  return id >= 0 && IsAdded(id) ? id : -1;
}

bool HfWriter::IsAdded(int32_t id) const {
  const TokenType type = vocabulary_.type(id);
  return type == TokenType::kControl || type == TokenType::kUnknown ||
         type == TokenType::kUserDefined;
}

OrderedJson HfWriter::AddedTokens() const {
  OrderedJson added = OrderedJson::array();
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string& text = vocabulary_.text(id);
    if (!IsAdded(id) || text.empty() || vocabulary_.Find(text) != id) continue;
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", vocabulary_.StripsRight(id)},
                     {"normalized", false},
                     {"special", vocabulary_.type(id) != TokenType::kUserDefined}});
  }
  return added;
}

OrderedJson HfWriter::PostProcessor() const {
  if (first() < 0 && last() < 0) return nullptr;
  OrderedJson single = OrderedJson::array(), pair = OrderedJson::array();
  OrderedJson tokens = OrderedJson::object();
  const auto add = [&](OrderedJson& sequence, int32_t id, int type) {
    if (id < 0) return;
    const std::string& text = vocabulary_.text(id);
    sequence.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
    tokens[text] = {
        {"id", text}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({text})}};
  };
  const auto text = [&](OrderedJson& sequence, const char* which, int type) {
    if (type == 0 || begins_second()) add(sequence, first(), type);
    sequence.push_back({{"Sequence", {{"id", which}, {"type_id", type}}}});
    add(sequence, last(), type);
  };
  text(single, "A", 0);
  text(pair, "A", 0);
  text(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

}  // namespace halftone
