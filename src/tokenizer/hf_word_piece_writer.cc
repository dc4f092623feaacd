// Word pieces ("bert") as tokenizer.json has them: a token that begins a word has no mark there,
// and one that goes on has "##" before it. The reverse of hf_word_pieces.cc.

#include "tokenizer/hf_writer.h"
#include "tokenizer/space_mark.h"

namespace halftone {
namespace {

class WordPieceWriter : public HfWriter {
 public:
  WordPieceWriter(const Metadata& metadata, const std::string& source)
      // What wpm.cc assumes.
      : HfWriter(metadata, {.bos = 101, .unknown = 100, .add_bos = true}, source) {}

 protected:
  OrderedJson Normalizer() const override {
    const auto accents = metadata_.Bool("tokenizer.ggml.normalizer.strip_accents");
    return {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", accents ? OrderedJson(*accents) : OrderedJson()},
            {"lowercase", metadata_.Bool("tokenizer.ggml.normalizer.lowercase").value_or(true)}};
  }

  OrderedJson PreTokenizerJson() const override { return {{"type", "BertPreTokenizer"}}; }

  OrderedJson Decoder() const override {
    return {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  }

  OrderedJson Model() const override {
    return {{"type", "WordPiece"},
            {"unk_token", Unknown()},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", VocabularyJson()}};
  }

  std::string TextOf(int32_t id) const override {
    const std::string& text = vocabulary_.text(id);
    if (vocabulary_.type(id) != TokenType::kNormal) return text;
    const bool begins = text.starts_with(kSpaceMark) && text.size() > kSpaceMark.size();
    return begins ? text.substr(kSpaceMark.size()) : "##" + text;
  }

  int32_t last() const override {
    const int64_t separator = metadata_.Int("tokenizer.ggml.seperator_token_id").value_or(102);
    return vocabulary_.Contains(static_cast<int32_t>(separator)) && separator <= INT32_MAX
               ? static_cast<int32_t>(separator)
               : -1;
  }
  bool begins_second() const override { return false; }
};

}  // namespace

std::unique_ptr<HfWriter> NewHfWordPieceWriter(const Metadata& metadata,
                                               const std::string& source) {
  return std::make_unique<WordPieceWriter>(metadata, source);
}

}  // namespace halftone
