// Unigram vocabularies ("t5") as tokenizer.json has them.
//
// The scores are the same numbers. An unknown character's score is the lowest of all entries less
// 10 there and the lowest of the normal tokens less 10 here, so that no other entry is written with
// a lower one. What SentencePiece does to a text first (spm_normalizer.h) becomes a sequence of
// normalizers: replaced characters, spaces at the ends, runs of them, the space in front, the
// marks.

#include <algorithm>

#include "base/base64.h"
#include "base/error.h"
#include "tokenizer/hf_tokenizer.h"
#include "tokenizer/hf_writer.h"
#include "tokenizer/space_mark.h"

namespace halftone {
namespace {

OrderedJson Replace(const char* kind, std::string_view pattern, std::string_view content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

class UnigramWriter : public HfWriter {
 public:
  UnigramWriter(const Metadata& metadata, const std::string& source)
      // What ugm.cc assumes.
      : HfWriter(metadata, {.eos = 1, .unknown = 2, .add_eos = true}, source) {
    prefix_ = metadata.Bool("tokenizer.ggml.add_space_prefix").value_or(false);
    const std::string* when = metadata.String("tokenizer.halftone.space_prefix");
    if (prefix_ && when != nullptr) scheme_ = *when == "first" ? "first" : "always";
    if (metadata.Find("tokenizer.ggml.scores") == nullptr) {
      FailFormat("{}: tokenizer.ggml.scores is missing", source);
    }
    if (vocabulary_.unknown() < 0) {
      FailUnsupported(
          "{}: a unigram vocabulary without an unknown token has no form in "
          "tokenizer.json",
          source);
    }
  }

 protected:
  OrderedJson Normalizer() const override {
    OrderedJson list = OrderedJson::array();
    if (const std::string map = CharacterMapBytes(); !map.empty()) {
      list.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", EncodeBase64(map)}});
    }
    if (metadata_.Bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false)) {
      list.push_back(Replace("Regex", kOuterSpaces, ""));
      list.push_back(Replace("Regex", " {2,}", " "));
    }
    if (prefix_ && scheme_.empty()) {
      list.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
    }
    list.push_back(Replace("String", " ", kSpaceMark));
    return {{"type", "Sequence"}, {"normalizers", list}};
  }

  OrderedJson PreTokenizerJson() const override {
    return scheme_.empty() ? OrderedJson() : Metaspace(scheme_);
  }

  OrderedJson Decoder() const override {
    const OrderedJson spaces = Metaspace(prefix_ ? "always" : "never");
    if (!has_bytes()) return spaces;
    return {{"type", "Sequence"},
            {"decoders", OrderedJson::array({{{"type", "ByteFallback"}}, spaces})}};
  }

  OrderedJson Model() const override {
    float lowest = 0;
    int32_t size = 0;
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      if (vocabulary_.type(id) == TokenType::kNormal) {
        lowest = std::min(lowest, vocabulary_.score(id));
      }
      if (!vocabulary_.IsPadding(id)) size = id + 1;
    }
    OrderedJson vocabulary = OrderedJson::array();
    for (int32_t id = 0; id < size; ++id) {
      vocabulary.push_back(OrderedJson::array(
          {vocabulary_.text(id), static_cast<double>(std::max(lowest, vocabulary_.score(id)))}));
    }
    return {{"type", "Unigram"},
            {"unk_id", vocabulary_.unknown()},
            {"vocab", vocabulary},
            {"byte_fallback", has_bytes()}};
  }

 private:
  static OrderedJson Metaspace(const std::string& scheme) {
    return {{"type", "Metaspace"},
            {"replacement", kSpaceMark},
            {"prepend_scheme", scheme},
            {"split", false}};
  }

  bool has_bytes() const {
    for (int byte = 0; byte < 256; ++byte) {
      if (vocabulary_.FindByte(static_cast<uint8_t>(byte)) < 0) return false;
    }
    return true;
  }

  std::string CharacterMapBytes() const {
    const Value* value = metadata_.Find("tokenizer.ggml.precompiled_charsmap");
    const Array* array = value != nullptr ? std::get_if<Array>(value) : nullptr;
    if (array == nullptr) return "";
    const auto text = [](const auto& bytes) { return std::string(bytes.begin(), bytes.end()); };
    if (const auto* bytes = std::get_if<std::vector<uint8_t>>(&array->elements)) {
      return text(*bytes);
    }
    if (const auto* bytes = std::get_if<std::vector<int8_t>>(&array->elements)) return text(*bytes);
    return "";
  }

  bool prefix_ = false;
  std::string scheme_;  // of Metaspace, where a space is not always added
};

}  // namespace

std::unique_ptr<HfWriter> NewHfUnigramWriter(const Metadata& metadata, const std::string& source) {
  return std::make_unique<UnigramWriter>(metadata, source);
}

}  // namespace halftone
