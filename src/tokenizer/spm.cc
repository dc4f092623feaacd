// SentencePiece's byte-pair form (Kudo and Richardson 2018), as Llama 2, Mistral and TinyLlama use
// it.
//
// The normalized text (spm_normalizer.h) begins as its characters; as long as two neighbours form a
// token, the pair whose token has the highest score, the leftmost of equals, becomes one symbol.
// Characters that are no token become the tokens of their bytes, "<0xHH>", or where there are none
// one unknown token.
//
// With tokenizer.ggml.merges pairs merge only if listed there, the earlier the stronger. Gemma 4
// and its kin come so; in "llama" llama.cpp ignores the key, which carries what a tokenizer.json
// may say beyond scores.

#include <cstddef>
#include <optional>
#include <queue>

#include "base/error.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/spm_normalizer.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

constexpr std::string_view kMerges = "tokenizer.ggml.merges";

class SpmTokenizer : public VocabularyTokenizer {
 public:
  // `prefix`: whether a space goes before the text where the metadata does not say; `key`: what
  // must be there to say which pairs merge.
  SpmTokenizer(const Metadata& metadata, const VocabularyDefaults& defaults, bool prefix,
               std::string_view key, const std::string& source)
      : VocabularyTokenizer(metadata, defaults, source), normalizer_(metadata, prefix, source) {
    if (metadata.Find(key) == nullptr) FailFormat("{}: {} is missing", source, key);
    if (const auto* merges = metadata.Strings(kMerges)) {
      merges_.emplace(vocabulary_, *merges, source);
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = vocabulary_.FindByte(static_cast<uint8_t>(byte));
    }
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      longest_ = std::max(longest_, vocabulary_.text(id).size());
    }
  }

 protected:
  struct Symbol {
    int32_t previous = -1;
    int32_t next = -1;
    uint32_t begin = 0;
    uint32_t bytes = 0;  // 0: merged into the one before it
  };

  // A pair of neighbours that forms a token, as it was when the entry was made.
  struct Pair {
    double score = 0;
    int32_t left = 0;
    int32_t right = 0;
    uint32_t bytes = 0;

    bool operator<(const Pair& other) const {
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  struct SpmWorkspace : Workspace {
    std::string text;
    std::vector<Symbol> symbols;
    std::priority_queue<Pair> pairs;
  };

  std::unique_ptr<Workspace> NewWorkspace() const override {
    return std::make_unique<SpmWorkspace>();
  }

  void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string DecodeText(const std::string& text) const override;

 private:
  void AddPair(SpmWorkspace& w, int32_t left, int32_t right) const;
  void Merge(SpmWorkspace& w) const;
  int32_t TokenOf(const SpmWorkspace& w, uint32_t begin, uint32_t bytes) const;

  SpmNormalizer normalizer_;
  std::optional<MergeTable> merges_;
  int32_t byte_ids_[256];
  size_t longest_ = 0;
};

int32_t SpmTokenizer::TokenOf(const SpmWorkspace& w, uint32_t begin, uint32_t bytes) const {
  if (bytes > longest_) return -1;
  const int32_t id = vocabulary_.Find(std::string_view(w.text).substr(begin, bytes));
  if (id < 0) return -1;
  // The spelled-out text of a control token must not turn into the token.
  const TokenType type = vocabulary_.type(id);
  return type == TokenType::kControl || type == TokenType::kUnknown ? -1 : id;
}

void SpmTokenizer::AddPair(SpmWorkspace& w, int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return;
  const Symbol& a = w.symbols[left];
  const Symbol& b = w.symbols[right];
  const uint32_t bytes = a.bytes + b.bytes;
  const int32_t id = TokenOf(w, a.begin, bytes);
  if (id < 0) return;
  if (!merges_) {
    w.pairs.push({vocabulary_.score(id), left, right, bytes});
    return;
  }
  const int32_t left_id = TokenOf(w, a.begin, a.bytes);
  const int32_t right_id = TokenOf(w, b.begin, b.bytes);
  if (left_id < 0 || right_id < 0) return;
  const int32_t rank = merges_->Find(left_id, right_id).rank;
  if (rank != INT32_MAX) w.pairs.push({-static_cast<double>(rank), left, right, bytes});
}

void SpmTokenizer::Merge(SpmWorkspace& w) const {
  for (size_t i = 1; i < w.symbols.size(); ++i) {
    AddPair(w, static_cast<int32_t>(i) - 1, static_cast<int32_t>(i));
  }
  while (!w.pairs.empty()) {
    const Pair pair = w.pairs.top();
    w.pairs.pop();
    Symbol& left = w.symbols[pair.left];
    Symbol& right = w.symbols[pair.right];
    // A symbol only ever grows or goes, so the sum of the sizes tells whether both are as they
    // were.
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != pair.bytes) continue;
    left.bytes += right.bytes;
    right.bytes = 0;
    left.next = right.next;
    if (right.next >= 0) w.symbols[right.next].previous = pair.left;
    AddPair(w, left.previous, pair.left);
    AddPair(w, pair.left, left.next);
  }
}

void SpmTokenizer::EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                                  std::vector<int32_t>& ids) const {
  auto& w = static_cast<SpmWorkspace&>(workspace);
  if (text.size() > INT32_MAX / 4) FailUnsupported("text of {} bytes is too long", text.size());
  normalizer_.Normalize(text, first, w.text);
  if (w.text.size() > INT32_MAX) FailUnsupported("text of {} bytes is too long", w.text.size());
  if (w.text.empty()) return;
  w.symbols.clear();
  for (size_t at = 0; at < w.text.size();) {
    const auto bytes = static_cast<uint32_t>(DecodeUtf8(w.text, at).bytes);
    const auto index = static_cast<int32_t>(w.symbols.size());
    w.symbols.push_back({index - 1, index + 1, static_cast<uint32_t>(at), bytes});
    at += bytes;
  }
  w.symbols.back().next = -1;
  Merge(w);
  bool after_unknown = false;
  for (const Symbol& symbol : w.symbols) {
    if (symbol.bytes == 0) continue;
    const int32_t id = TokenOf(w, symbol.begin, symbol.bytes);
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
      continue;
    }
    for (uint32_t i = 0; i < symbol.bytes; ++i) {
      const int32_t byte = byte_ids_[static_cast<uint8_t>(w.text[symbol.begin + i])];
      const int32_t known = byte >= 0 ? byte : vocabulary_.unknown();
      // However many bytes are unknown in a row, they are one unknown token.
      if (known >= 0 && (byte >= 0 || !after_unknown)) ids.push_back(known);
      after_unknown = byte < 0;
    }
  }
}

std::string SpmTokenizer::DecodeText(const std::string& text) const { return MarksToSpaces(text); }

}  // namespace

std::unique_ptr<Tokenizer> NewSpmTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<SpmTokenizer>(
      metadata, VocabularyDefaults{.bos = 1, .eos = 2, .unknown = 0, .add_bos = true}, true,
      "tokenizer.ggml.scores", source);
}

std::unique_ptr<Tokenizer> NewMergedSpmTokenizer(const Metadata& metadata,
                                                 const std::string& source) {
  // Gemma 4 is no model without its bos, whatever a file says.
  const std::string* pre = metadata.String("tokenizer.ggml.pre");
  const bool bos = pre == nullptr || *pre != "sarvam-moe";
  return std::make_unique<SpmTokenizer>(metadata, VocabularyDefaults{.must_add_bos = bos}, false,
                                        kMerges, source);
}

}  // namespace halftone
