#include "tokenizer/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace halftone {
namespace {

// Texts that end a turn or a file in the model families that use them. A token with such a text is
// a control token even where the converter marked it as an ordinary one.
constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|calls|>",
                                          "<|flush|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "</s>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<|end_of_text|>",
                                          "<end_of_utterance>",
                                          "<eos>",
                                          "<turn|>",
                                          "<|tool_response>",
                                          "<｜end▁of▁sentence｜>",
                                          "[e~["};

// Tokens of fill-in-the-middle prompts. The first three rows are control tokens; pad, repository
// and file separators also end generation. `key` overrules the texts.
struct FillInRole {
  std::string_view key;
  bool ends_generation;
  std::string_view texts[8];  // unused places are empty
};
constexpr FillInRole kFillInRoles[] = {
    {"tokenizer.ggml.fim_pre_token_id",
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
      "<|code_prefix|>", "<|prefix|>"}},
    {"tokenizer.ggml.fim_suf_token_id",
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
      "<|code_suffix|>", "<|suffix|>"}},
    {"tokenizer.ggml.fim_mid_token_id",
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
      "<|code_middle|>", "<|middle|>"}},
    {"tokenizer.ggml.fim_pad_token_id",
     true,
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"tokenizer.ggml.fim_rep_token_id",
     true,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"tokenizer.ggml.fim_sep_token_id", true, {"<|file_sep|>"}},
};

// Structure of the answer in the Harmony format: a caller wants to see these.
constexpr std::string_view kShownTexts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                            "<|constrain|>"};

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

Vocabulary::Vocabulary(const Metadata& metadata, const VocabularyDefaults& defaults,
                       const std::string& source) {
  ReadTokens(metadata, source);
  ReadSpecialIds(metadata, defaults);
  MarkKnownTexts(metadata);
  MarkStripping(metadata);
  IndexSpecial();
}

void Vocabulary::ReadTokens(const Metadata& metadata, const std::string& source) {
  const auto* tokens = metadata.Strings("tokenizer.ggml.tokens");
  if (tokens == nullptr) FailFormat("{}: tokenizer.ggml.tokens is missing", source);
  if (tokens->size() > INT32_MAX) FailFormat("{}: tokenizer.ggml.tokens is too long", source);
  texts_ = *tokens;
  types_.assign(texts_.size(), TokenType::kNormal);
  ends_generation_.assign(texts_.size(), false);

  if (metadata.Find("tokenizer.ggml.token_type") != nullptr) {
    const auto types = metadata.Ints("tokenizer.ggml.token_type");
    if (!types || types->size() < texts_.size()) {
      FailFormat("{}: tokenizer.ggml.token_type does not hold {} integers", source, texts_.size());
    }
    for (size_t i = 0; i < texts_.size(); ++i) {
      const int64_t type = (*types)[i];
      types_[i] = type >= 1 && type <= 6 ? static_cast<TokenType>(type) : TokenType::kUndefined;
    }
  }
  if (metadata.Find("tokenizer.ggml.scores") != nullptr) {
    const auto* scores = metadata.Floats("tokenizer.ggml.scores");
    if (scores == nullptr || scores->size() < texts_.size()) {
      FailFormat("{}: tokenizer.ggml.scores does not hold {} floats", source, texts_.size());
    }
    scores_.assign(scores->begin(), scores->begin() + static_cast<ptrdiff_t>(texts_.size()));
  }
  ids_.reserve(texts_.size());
  for (size_t i = 0; i < texts_.size(); ++i) ids_[texts_[i]] = static_cast<int32_t>(i);
}

void Vocabulary::ReadSpecialIds(const Metadata& metadata, const VocabularyDefaults& defaults) {
  const auto id_of = [&](std::string_view key, int32_t fallback) {
    const auto id = metadata.Int(key);
    if (id && *id >= 0 && *id < size()) return static_cast<int32_t>(*id);
    return Contains(fallback) ? fallback : -1;
  };
  bos_ = id_of("tokenizer.ggml.bos_token_id", defaults.bos);
  eos_ = id_of("tokenizer.ggml.eos_token_id", defaults.eos);
  unknown_ = id_of("tokenizer.ggml.unknown_token_id", defaults.unknown);
  add_bos_ = metadata.Bool("tokenizer.ggml.add_bos_token").value_or(defaults.add_bos);
  add_bos_ = (add_bos_ || defaults.must_add_bos) && bos_ >= 0;
  add_eos_ = metadata.Bool("tokenizer.ggml.add_eos_token").value_or(defaults.add_eos) && eos_ >= 0;
}

void Vocabulary::MarkKnownTexts(const Metadata& metadata) {
  const auto make_control = [&](std::string_view text) {
    const int32_t id = Find(text);
    if (id >= 0) types_[id] = TokenType::kControl;
    return id;
  };
  for (const std::string_view text : kEndTexts) {
    const int32_t id = make_control(text);
    if (id >= 0) ends_generation_[id] = true;
  }
  for (const FillInRole& role : kFillInRoles) {
    const auto given = metadata.Int(role.key);
    if (given && *given >= 0 && *given < size()) {
      if (role.ends_generation) ends_generation_[*given] = true;
      continue;
    }
    for (const std::string_view text : role.texts) {
      if (text.empty()) break;
      const int32_t id = make_control(text);
      if (id >= 0 && role.ends_generation) ends_generation_[id] = true;
    }
  }
  for (const std::string_view text : kShownTexts) {
    const int32_t id = Find(text);
    if (id >= 0) types_[id] = TokenType::kUserDefined;
  }
  MarkEnds(metadata);
}

void Vocabulary::MarkEnds(const Metadata& metadata) {
  if (eos_ >= 0) ends_generation_[eos_] = true;
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto id = metadata.Int(key);
    if (id && *id >= 0 && *id < size()) ends_generation_[*id] = true;
  }
  const auto has = [&](std::string_view text) { return Find(text) >= 0; };
  const auto continue_after = [&](std::string_view text, TokenType type) {
    const int32_t id = Find(text);
    if (id < 0) return;
    ends_generation_[id] = false;
    types_[id] = type;
  };
  // Harmony and Solar end one message of several with <|end|>.
  const bool harmony = has("<|return|>") && (has("<|call|>") || has("<|calls|>"));
  const bool solar = has("<|flush|>") && (has("<|call|>") || has("<|calls|>"));
  if (harmony || solar) continue_after("<|end|>", TokenType::kUserDefined);
  // Gemma 4 and PLaMo use </s> as HTML's strike-through.
  if (has("<|tool_response>") || has("<|plamo:eos|>")) {
    continue_after("</s>", TokenType::kNormal);
  }
}

void Vocabulary::MarkStripping(const Metadata& metadata) {
  strips_right_.assign(texts_.size(), false);
  // GGUF has no key for it: llama.cpp knows the one family by the model's name.
  const std::string* name = metadata.String("general.name");
  if (name == nullptr) return;
  std::string lower = *name;
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  if (lower.find("phi-3") == std::string::npos && lower.find("phi3") == std::string::npos) return;
  for (int32_t id = 0; id < size(); ++id) {
    const std::string& text = texts_[id];
    strips_right_[id] = text != "<unk>" && text != "<s>" && text != "<|endoftext|>";
  }
}

void Vocabulary::IndexSpecial() {
  trie_.emplace_back();
  for (int32_t id = 0; id < size(); ++id) {
    const TokenType type = types_[id];
    if (type != TokenType::kControl && type != TokenType::kUserDefined &&
        type != TokenType::kUnknown) {
      continue;
    }
    const std::string& text = texts_[id];
    if (text.empty()) continue;
    uint32_t node = 0;
    for (const char c : text) {
      const auto byte = static_cast<uint8_t>(c);
      uint32_t child = Child(node, byte);
      if (child == 0) {
        child = static_cast<uint32_t>(trie_.size());
        trie_.emplace_back();
        if (node == 0) {
          trie_first_[byte] = child;
        } else {
          trie_[node].next.emplace_back(byte, child);
        }
      }
      node = child;
    }
    trie_[node].token = id;
  }
}

uint32_t Vocabulary::Child(uint32_t node, uint8_t byte) const {
  if (node == 0) return trie_first_[byte];
  for (const auto& [key, child] : trie_[node].next) {
    if (key == byte) return child;
  }
  return 0;
}

int32_t Vocabulary::Find(std::string_view text) const {
  const auto it = ids_.find(text);
  return it == ids_.end() ? -1 : it->second;
}

int32_t Vocabulary::FindByte(uint8_t byte) const { return Find(fmt::format("<0x{:02X}>", byte)); }

bool Vocabulary::IsPadding(int32_t id) const {
  if (!Contains(id)) return true;
  return types_[id] == TokenType::kUnused && texts_[id] == fmt::format("[PAD{}]", id);
}

bool Vocabulary::IsEndOfGeneration(int32_t id) const {
  return Contains(id) && ends_generation_[id];
}

Fragment Vocabulary::LongestSpecial(std::string_view text, size_t begin, size_t limit,
                                    bool special) const {
  Fragment longest;
  uint32_t node = trie_first_[static_cast<uint8_t>(text[begin])];
  for (size_t end = begin + 1; node != 0; ++end) {
    const int32_t id = trie_[node].token;
    if (id >= 0 && (special || types_[id] == TokenType::kUserDefined)) longest = {id, begin, end};
    node = end < limit ? Child(node, static_cast<uint8_t>(text[end])) : 0;
  }
  return longest;
}

std::vector<Fragment> Vocabulary::FindSpecial(std::string_view text, bool special) const {
  const auto later = [](const Fragment& a, const Fragment& b) {
    const size_t length_a = a.end - a.begin;
    const size_t length_b = b.end - b.begin;
    return length_a != length_b ? length_a < length_b : a.begin > b.begin;
  };
  // The longest token at each place; a shorter one only where another token has cut that off.
  std::vector<Fragment> hits;
  for (size_t at = 0; at < text.size(); ++at) {
    const Fragment hit = LongestSpecial(text, at, text.size(), special);
    if (hit.token >= 0) hits.push_back(hit);
  }
  std::vector<Fragment> taken;
  if (hits.empty()) return taken;
  std::vector<bool> covered(text.size());
  std::ranges::make_heap(hits, later);
  while (!hits.empty()) {
    std::ranges::pop_heap(hits, later);
    const Fragment hit = hits.back();
    hits.pop_back();
    if (covered[hit.begin]) continue;
    // What was taken before is no shorter, so it covers an end of all that it overlaps.
    if (!covered[hit.end - 1]) {
      taken.push_back(hit);
      std::fill(covered.begin() + static_cast<ptrdiff_t>(hit.begin),
                covered.begin() + static_cast<ptrdiff_t>(hit.end), true);
      continue;
    }
    if (hit.end - hit.begin == 1) continue;
    const Fragment shorter = LongestSpecial(text, hit.begin, hit.end - 1, special);
    if (shorter.token < 0) continue;
    hits.push_back(shorter);
    std::ranges::push_heap(hits, later);
  }
  std::ranges::sort(taken, {}, &Fragment::begin);
  return taken;
}

std::vector<Fragment> Vocabulary::SplitSpecial(std::string_view text, bool special) const {
  const std::vector<Fragment> taken = FindSpecial(text, special);
  std::vector<Fragment> fragments;
  size_t at = 0;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i].begin > at) fragments.push_back({-1, at, taken[i].begin});
    fragments.push_back(taken[i]);
    at = taken[i].end;
    if (!strips_right_[taken[i].token]) continue;
    const size_t limit = i + 1 < taken.size() ? taken[i + 1].begin : text.size();
    while (at < limit && IsSpace(text[at])) ++at;
  }
  if (at < text.size()) fragments.push_back({-1, at, text.size()});
  return fragments;
}

}  // namespace halftone
