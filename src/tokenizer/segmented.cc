// Pairs within segments of a text, in two forms that llama.cpp keeps apart by name.
//
// "hybriddna": what stands between "<dna>" and "</dna>" is cut into groups of six letters, the last
// filled up with A, each of which is a token; the rest is byte-level pairs. The texts of those
// tokens end with U+E000, which keeps them apart from words of the same letters. A group that is no
// token is "<oov>".
//
// "whitespace": white space goes and cuts; what is between is pairs of characters, in lower case
// where tokenizer.ggml.normalizer.lowercase says so. Characters that are no token leave nothing.
//
// Source: llama.cpp (llama-vocab.cpp), whose ids these are.

#include <algorithm>
#include <iterator>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

constexpr std::string_view kPre = "tokenizer.ggml.pre";

// What bpe.cc assumes.
VocabularyDefaults PairDefaults(bool add_bos) { return {.bos = 11, .eos = 11, .add_bos = add_bos}; }

bool ImpliesBos(const Metadata& metadata, const std::string& source) {
  const std::string* name = metadata.String(kPre);
  return PreTokenizer(name ? *name : "default", source).add_bos();
}

// ---- DNA ----

class DnaTokenizer : public VocabularyTokenizer {
 public:
  DnaTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, PairDefaults(ImpliesBos(metadata, source)), source),
        pairs_(NewBpeTokenizer(metadata, source)),
        begin_(vocabulary_.Find(kBegin)),
        end_(vocabulary_.Find(kEnd)),
        other_(vocabulary_.Find("<oov>")) {}

 protected:
  std::unique_ptr<Workspace> NewWorkspace() const override { return std::make_unique<Workspace>(); }

  void EncodeFragment(std::string_view text, bool, Workspace&,
                      std::vector<int32_t>& ids) const override {
    const bool knows_dna = begin_ >= 0 && end_ >= 0 && other_ >= 0;
    while (!text.empty()) {
      const size_t begin = knows_dna ? text.find(kBegin) : text.npos;
      std::ranges::copy(pairs_->Encode(text.substr(0, begin), false), std::back_inserter(ids));
      if (begin == text.npos) return;
      ids.push_back(begin_);
      text.remove_prefix(begin + kBegin.size());
      const size_t end = text.find(kEnd);
      EncodeLetters(text.substr(0, end), ids);
      if (end == text.npos) return;
      ids.push_back(end_);
      text.remove_prefix(end + kEnd.size());
    }
  }

  std::string DecodeText(const std::string& text) const override {
    if (text.ends_with(kMark)) return text.substr(0, text.size() - kMark.size());
    return DecodeByteAlphabet(text);
  }

 private:
  static constexpr std::string_view kBegin = "<dna>", kEnd = "</dna>", kMark = "\uE000";
  static constexpr size_t kLetters = 6;

  void EncodeLetters(std::string_view letters, std::vector<int32_t>& ids) const {
    for (size_t at = 0; at < letters.size(); at += kLetters) {
      std::string group(letters.substr(at, kLetters));
      group.resize(kLetters, 'A');
      for (char& c : group) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
      }
      const int32_t id = vocabulary_.Find(group.append(kMark));
      ids.push_back(id >= 0 ? id : other_);
    }
  }

  std::unique_ptr<Tokenizer> pairs_;
  int32_t begin_, end_, other_;
};

// ---- White space ----

bool IsSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

class WhitespaceTokenizer : public VocabularyTokenizer {
 public:
  WhitespaceTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, PairDefaults(false), source),
        lowercase_(metadata.Bool("tokenizer.ggml.normalizer.lowercase").value_or(false)) {
    Metadata of_text = metadata;
    // Neither unknown characters nor spaces are anything there.
    of_text.Set("tokenizer.ggml.unknown_token_id", UINT32_MAX);
    of_text.Erase("tokenizer.ggml.add_space_prefix");
    pairs_ = NewMergedSpmTokenizer(of_text, source);
  }

 protected:
  std::unique_ptr<Workspace> NewWorkspace() const override { return std::make_unique<Workspace>(); }

  void EncodeFragment(std::string_view text, bool, Workspace&,
                      std::vector<int32_t>& ids) const override {
    std::string segment;
    const auto flush = [&] {
      std::ranges::copy(pairs_->Encode(segment, false), std::back_inserter(ids));
      segment.clear();
    };
    for (size_t at = 0; at < text.size();) {
      const Utf8Char c = DecodeUtf8(text, at);
      if (c.valid && IsSpace(c.code)) {
        flush();
      } else if (c.valid && lowercase_) {
        jinja::AppendLower(c.code, segment);
      } else {
        segment += text.substr(at, c.bytes);
      }
      at += c.bytes;
    }
    flush();
  }

  std::string DecodeText(const std::string& text) const override { return text; }

 private:
  const bool lowercase_;
  std::unique_ptr<Tokenizer> pairs_;
};

}  // namespace

std::unique_ptr<Tokenizer> NewDnaTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<DnaTokenizer>(metadata, source);
}

std::unique_ptr<Tokenizer> NewWhitespaceTokenizer(const Metadata& metadata,
                                                  const std::string& source) {
  return std::make_unique<WhitespaceTokenizer>(metadata, source);
}

}  // namespace halftone
