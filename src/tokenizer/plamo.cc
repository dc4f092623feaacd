// PLaMo 2's tokenizer: of all ways to cut a text into tokens, the one whose scores have the largest
// sum.
//
// Scores count in whole ten-thousandths. A character that no token helps with becomes the tokens of
// its bytes, "<0xHH>", at the price of -1000. The search runs from the end, so that of equal ways
// the one whose first token is longer is taken. Unlike in SentencePiece's unigrams control tokens
// are texts like others, spaces are characters like others, and nothing is ever added around a
// text. A byte order mark that begins a text goes.
//
// Source: Plamo2Tokenizer in huggingface.co/pfnet/plamo-2-1b; llama.cpp, whose ids these are.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

constexpr int64_t kUnknownScore = -10'000'000;
constexpr int64_t kLowestScore = -20'000'000;  // tokens with less are never taken
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

class PlamoTokenizer : public VocabularyTokenizer {
 public:
  PlamoTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, {.bos = 1, .eos = 2, .unknown = 0}, source) {
    if (metadata.Find("tokenizer.ggml.scores") == nullptr) {
      FailFormat("{}: tokenizer.ggml.scores is missing", source);
    }
    scores_.resize(static_cast<size_t>(vocabulary_.size()));
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      if (vocabulary_.type(id) == TokenType::kByte) continue;
      const double score = std::round(static_cast<double>(vocabulary_.score(id)) * 1e4);
      // Also of NaN.
      if (!(score > static_cast<double>(kLowestScore))) continue;
      scores_[id] = static_cast<int64_t>(std::min(score, 2147483647.0));
      trie_.Insert(vocabulary_.text(id), id);
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = vocabulary_.FindByte(static_cast<uint8_t>(byte));
      if (byte_ids_[byte] < 0) FailFormat("{}: token '<0x{:02X}>' is missing", source, byte);
    }
  }

  std::vector<int32_t> Encode(std::string_view text, bool special) const override {
    std::vector<int32_t> ids;
    PlamoWorkspace workspace;
    for (const Fragment& fragment : vocabulary_.SplitSpecial(text, special)) {
      if (fragment.token >= 0) {
        ids.push_back(fragment.token);
      } else {
        EncodeFragment(text.substr(fragment.begin, fragment.end - fragment.begin),
                       fragment.begin == 0, workspace, ids);
      }
    }
    return ids;
  }
  bool add_bos() const override { return false; }

 protected:
  // The best way to cut the text from some byte on: its first token, and where that ends.
  struct Cut {
    int64_t score = std::numeric_limits<int64_t>::min();
    uint32_t end = 0;
    int32_t token = -1;  // -1: unknown
  };
  struct PlamoWorkspace : Workspace {
    std::vector<Cut> cuts;
  };

  std::unique_ptr<Workspace> NewWorkspace() const override {
    return std::make_unique<PlamoWorkspace>();
  }
  void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string DecodeText(const std::string& text) const override { return text; }

 private:
  Cut Best(std::string_view text, uint32_t at, uint32_t bytes, const std::vector<Cut>& cuts) const;

  ByteTrie trie_;
  std::vector<int64_t> scores_;  // by id
  int32_t byte_ids_[256];
};

PlamoTokenizer::Cut PlamoTokenizer::Best(std::string_view text, uint32_t at, uint32_t bytes,
                                         const std::vector<Cut>& cuts) const {
  Cut best{cuts[at + bytes].score + kUnknownScore, at + bytes, -1};
  uint32_t node = 0;
  for (uint32_t end = at; end < text.size();) {
    node = trie_.Child(node, static_cast<uint8_t>(text[end++]));
    if (node == 0) break;
    const int32_t id = trie_.token(node);
    // Equal ones: the longer. Nothing ends within a character.
    if (id < 0 || cuts[end].score == std::numeric_limits<int64_t>::min()) continue;
    const int64_t score = cuts[end].score + scores_[id];
    if (score >= best.score) best = {score, end, id};
  }
  return best;
}

void PlamoTokenizer::EncodeFragment(std::string_view text, bool, Workspace& workspace,
                                    std::vector<int32_t>& ids) const {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.size() > INT32_MAX) FailUnsupported("text of {} bytes is too long", text.size());
  std::vector<Cut>& cuts = static_cast<PlamoWorkspace&>(workspace).cuts;
  cuts.assign(text.size() + 1, {});
  // Where characters begin, that the search may run backwards.
  for (uint32_t at = 0; at < text.size(); at = cuts[at].end) {
    cuts[at].end = at + static_cast<uint32_t>(DecodeUtf8(text, at).bytes);
  }
  cuts[text.size()].score = 0;
  for (auto at = static_cast<uint32_t>(text.size()); at-- > 0;) {
    if (cuts[at].end > 0) cuts[at] = Best(text, at, cuts[at].end - at, cuts);
  }
  for (uint32_t at = 0; at < text.size(); at = cuts[at].end) {
    if (cuts[at].token >= 0) {
      ids.push_back(cuts[at].token);
      continue;
    }
    for (uint32_t i = at; i < cuts[at].end; ++i) {
      ids.push_back(byte_ids_[static_cast<uint8_t>(text[i])]);
    }
  }
}

}  // namespace

std::unique_ptr<Tokenizer> NewPlamoTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<PlamoTokenizer>(metadata, source);
}

}  // namespace halftone
