// A tokenizer.json of word pieces (WordPiece; wpm.cc) to the settings of tokenizer.ggml.model
// "bert".
//
// Source: BertNormalizer, BertPreTokenizer, WordPiece and the post-processors in
// github.com/huggingface/tokenizers; BertModel in llama.cpp's convert_hf_to_gguf.py for the keys.

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/hf_tokenizer.h"

namespace halftone {
namespace {

constexpr int64_t kLongestWord = 100;  // wpm.cc's

std::string TypeOf(const Json& element) {
  const Json& type = Member(element, "type");
  return type.is_string() ? Printable(type.get<std::string>()) : std::string(element.type_name());
}

// Of a token in the vocabulary; none where it has none.
std::optional<uint32_t> IdOf(const Json& tokenizer, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const Json& id = Member(Member(Member(tokenizer, "model"), "vocab"), text);
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
    return std::nullopt;
  }
  return static_cast<uint32_t>(id.get<int64_t>());
}

// The texts of the tokens that stand before and after a text.
struct Around {
  std::string first, last;
};

Around ReadAround(const Json& post) {
  if (Member(post, "type") == "BertProcessing") {
    const Json &first = Member(post, "cls"), &last = Member(post, "sep");
    if (!first.is_array() || first.empty() || !last.is_array() || last.empty()) return {};
    return {TokenContent(first[0]), TokenContent(last[0])};
  }
  const Json& single = Member(post, "single");
  if (Member(post, "type") != "TemplateProcessing" || !single.is_array() || single.size() != 3) {
    return {};
  }
  const auto text = [](const Json& part) {
    const Json& id = Member(Member(part, "SpecialToken"), "id");
    return id.is_string() ? id.get<std::string>() : std::string();
  };
  return {text(single[0]), text(single[2])};
}

}  // namespace

void SetHfWordPieces(const HfDocuments& files, Metadata& metadata) {
  const Json& tokenizer = files.tokenizer();
  const Json& model = Member(tokenizer, "model");
  const Json& normalizer = Member(tokenizer, "normalizer");
  const Json& pre_tokenizer = Member(tokenizer, "pre_tokenizer");
  const auto unsupported = [&](std::string_view what, const std::string& value) {
    FailUnsupported("{}: {} '{}' of tokenizer.json is not supported with word pieces",
                    files.source(), what, value);
  };
  if (Member(normalizer, "type") != "BertNormalizer") {
    unsupported("normalizer", TypeOf(normalizer));
  }
  for (const char* key : {"clean_text", "handle_chinese_chars"}) {
    if (normalizer.value(key, true) == false) unsupported(key, "false");
  }
  if (Member(pre_tokenizer, "type") != "BertPreTokenizer") {
    unsupported("pre-tokenizer", TypeOf(pre_tokenizer));
  }
  if (const auto longest = model.value("max_input_chars_per_word", kLongestWord);
      longest != kLongestWord) {
    unsupported("max_input_chars_per_word", fmt::format("{}", longest));
  }
  metadata.Set("tokenizer.ggml.normalizer.lowercase", normalizer.value("lowercase", true));
  if (const Json& accents = Member(normalizer, "strip_accents"); accents.is_boolean()) {
    metadata.Set("tokenizer.ggml.normalizer.strip_accents", accents.get<bool>());
  }
  metadata.Set("tokenizer.halftone.unicode_8", true);
  const Around around = ReadAround(Member(tokenizer, "post_processor"));
  const auto first = IdOf(tokenizer, around.first), last = IdOf(tokenizer, around.last);
  if (!first || !last) {
    FailUnsupported(
        "{}: word pieces without one token before and one after a text are not supported",
        files.source());
  }
  const auto unknown = IdOf(tokenizer, model.value("unk_token", "[UNK]"));
  if (!unknown) FailFormat("{}: the unknown token is not in the vocabulary", files.source());
  metadata.Set("tokenizer.ggml.bos_token_id", *first);
  metadata.Set("tokenizer.ggml.seperator_token_id", *last);
  metadata.Set("tokenizer.ggml.unknown_token_id", *unknown);
  metadata.Set("tokenizer.ggml.add_bos_token", true);
}

}  // namespace halftone
