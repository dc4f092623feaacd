// SentencePiece's unigram form (Kudo 2018), as T5 and XLM-RoBERTa use it.
//
// Of all ways to cut the normalized text (spm_normalizer.h) into tokens the one whose scores, which
// are logarithms of probabilities, have the largest sum; of equal ones that whose last token was
// seen first, from the left. A character that is no token may be an unknown one, at the lowest
// score less 10. Neighbouring unknown characters are one unknown token, or the tokens of their
// bytes, "<0xHH>", where the vocabulary has all of these.

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/spm_normalizer.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

constexpr double kUnknownPenalty = 10;

class UgmTokenizer : public VocabularyTokenizer {
 public:
  UgmTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, {.eos = 1, .unknown = 2, .add_eos = true}, source),
        normalizer_(metadata, false, source) {
    if (metadata.Find("tokenizer.ggml.scores") == nullptr) {
      FailFormat("{}: tokenizer.ggml.scores is missing", source);
    }
    double lowest = 0;
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      const TokenType type = vocabulary_.type(id);
      if (type == TokenType::kNormal) lowest = std::min<double>(lowest, vocabulary_.score(id));
      if (type == TokenType::kNormal || type == TokenType::kUserDefined ||
          type == TokenType::kUnused) {
        trie_.Insert(vocabulary_.text(id), id);
      }
    }
    unknown_score_ = lowest - kUnknownPenalty;
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = vocabulary_.FindByte(static_cast<uint8_t>(byte));
      has_bytes_ &= byte_ids_[byte] >= 0;
    }
  }

 protected:
  // The best way to cut the text up to some byte: its last token, and where that begins.
  struct Cut {
    double score = -std::numeric_limits<double>::infinity();
    uint32_t begin = 0;
    int32_t token = -1;  // -1: unknown
  };

  struct UgmWorkspace : Workspace {
    std::string text;
    std::vector<Cut> cuts;
    std::vector<Cut> path;  // the last token first, with `score` unused
    std::vector<uint32_t> ends;
  };

  std::unique_ptr<Workspace> NewWorkspace() const override {
    return std::make_unique<UgmWorkspace>();
  }

  void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string DecodeText(const std::string& text) const override { return MarksToSpaces(text); }

 private:
  void Search(UgmWorkspace& w) const;
  void Emit(UgmWorkspace& w, std::vector<int32_t>& ids) const;

  SpmNormalizer normalizer_;
  ByteTrie trie_;
  double unknown_score_ = 0;
  int32_t byte_ids_[256];
  bool has_bytes_ = true;
};

void UgmTokenizer::Search(UgmWorkspace& w) const {
  const std::string_view text = w.text;
  w.cuts.assign(text.size() + 1, {});
  w.cuts[0].score = 0;
  for (uint32_t at = 0; at < text.size();) {
    const double before = w.cuts[at].score;
    const auto bytes = static_cast<uint32_t>(DecodeUtf8(text, at).bytes);
    const auto offer = [&](uint32_t end, int32_t token, double score) {
      if (before + score > w.cuts[end].score) w.cuts[end] = {before + score, at, token};
    };
    bool known = false;
    uint32_t node = 0;
    for (uint32_t end = at; end < text.size();) {
      node = trie_.Child(node, static_cast<uint8_t>(text[end++]));
      if (node == 0) break;
      const int32_t id = trie_.token(node);
      if (id < 0) continue;
      known |= end == at + bytes;
      const bool given = vocabulary_.type(id) == TokenType::kUserDefined;
      offer(end, id, given ? 0.0 : vocabulary_.score(id));
    }
    if (!known) offer(at + bytes, -1, unknown_score_);
    at += bytes;
  }
}

void UgmTokenizer::Emit(UgmWorkspace& w, std::vector<int32_t>& ids) const {
  w.path.clear();
  w.ends.clear();
  for (uint32_t end = static_cast<uint32_t>(w.text.size()); end > 0; end = w.cuts[end].begin) {
    w.path.push_back(w.cuts[end]);
    w.ends.push_back(end);
  }
  bool after_unknown = false;
  for (size_t i = w.path.size(); i-- > 0;) {
    const Cut& cut = w.path[i];
    if (cut.token >= 0) {
      ids.push_back(cut.token);
    } else if (has_bytes_) {
      for (uint32_t at = cut.begin; at < w.ends[i]; ++at) {
        ids.push_back(byte_ids_[static_cast<uint8_t>(w.text[at])]);
      }
    } else if (!after_unknown && vocabulary_.unknown() >= 0) {
      ids.push_back(vocabulary_.unknown());
    }
    after_unknown = cut.token < 0;
  }
}

void UgmTokenizer::EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                                  std::vector<int32_t>& ids) const {
  auto& w = static_cast<UgmWorkspace&>(workspace);
  if (text.size() > INT32_MAX / 4) FailUnsupported("text of {} bytes is too long", text.size());
  normalizer_.Normalize(text, first, w.text);
  if (w.text.size() > INT32_MAX) FailUnsupported("text of {} bytes is too long", w.text.size());
  Search(w);
  Emit(w, ids);
}

}  // namespace

std::unique_ptr<Tokenizer> NewUgmTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<UgmTokenizer>(metadata, source);
}

}  // namespace halftone
