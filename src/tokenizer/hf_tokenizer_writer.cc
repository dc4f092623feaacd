#include "tokenizer/hf_tokenizer_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "tokenizer/hf_writer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/unicode.h"

namespace halftone {
namespace {

std::string Text(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

bool IsRun(std::string_view text) {
  const auto bytes = static_cast<size_t>(DecodeUtf8(text, 0).bytes);
  for (size_t at = bytes; at < text.size(); ++at) {
    if (text[at] != text[at - bytes]) return false;
  }
  return true;
}

// ---- Byte-level ----

class ByteLevelWriter : public HfWriter {
 public:
  ByteLevelWriter(const Metadata& metadata, PreTokenizer pre_tokenizer, const std::string& source)
      // What bpe.cc assumes.
      : HfWriter(metadata, {.bos = 11, .eos = 11, .add_bos = pre_tokenizer.add_bos()}, source),
        pre_tokenizer_(std::move(pre_tokenizer)) {}

 protected:
  OrderedJson Normalizer() const override { return nullptr; }

  OrderedJson PreTokenizerJson() const override {
    OrderedJson list = OrderedJson::array();
    const std::vector<HfStep> steps = pre_tokenizer_.HfSteps();
    // ByteLevel leaves another alphabet behind, so it can only cut where nothing follows.
    const bool cuts = !steps.empty() && steps.back().kind == HfStep::Kind::kByteLevel;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (cuts && i + 1 == steps.size()) break;
      list.push_back(StepJson(steps[i]));
    }
    list.push_back(ByteLevel(false, cuts));
    return list.size() == 1 ? list[0]
                            : OrderedJson({{"type", "Sequence"}, {"pretokenizers", list}});
  }

  OrderedJson Decoder() const override { return ByteLevel(true, true); }

  OrderedJson Model() const override {
    return Bpe(false, pre_tokenizer_.ignore_merges(), Merges());
  }

 private:
  static OrderedJson ByteLevel(bool prefix, bool cuts) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", prefix},
            {"trim_offsets", true},
            {"use_regex", cuts}};
  }

  static OrderedJson StepJson(const HfStep& step) {
    switch (step.kind) {
      case HfStep::Kind::kDigit:
      case HfStep::Kind::kDigits:
        return {{"type", "Digits"}, {"individual_digits", step.kind == HfStep::Kind::kDigit}};
      case HfStep::Kind::kPunctuation:
        return {{"type", "Punctuation"}, {"behavior", "Contiguous"}};
      case HfStep::Kind::kByteLevel:
      case HfStep::Kind::kSplit:
        break;
    }
    return {{"type", "Split"},
            {"pattern", {{"Regex", step.pattern}}},
            {"behavior", "Isolated"},
            {"invert", false}};
  }

  OrderedJson Merges() const {
    const auto* merges = metadata_.Strings("tokenizer.ggml.merges");
    if (merges == nullptr) FailFormat("{}: tokenizer.ggml.merges is missing", source_);
    OrderedJson list = OrderedJson::array();
    // Of two equal ones the first is meant here and the last in tokenizer.json.
    std::unordered_set<std::string_view> known;
    for (const std::string& merge : *merges) {
      if (!known.insert(merge).second) continue;
      const size_t space = merge.find(' ', 1);
      const std::string left = merge.substr(0, space);
      const std::string right = space == std::string::npos ? "" : merge.substr(space + 1);
      for (const std::string& text : {left, right, left + right}) {
        if (vocabulary_.Find(text) < 0) {
          FailUnsupported("{}: the merge '{}' is of texts that are no tokens", source_,
                          Printable(merge));
        }
      }
      list.push_back(merge);
    }
    return list;
  }

  const PreTokenizer pre_tokenizer_;
};

// ---- SentencePiece ----

class SpmWriter : public HfWriter {
 public:
  SpmWriter(const Metadata& metadata, const std::string& source)
      : HfWriter(metadata, {.bos = 1, .eos = 2, .unknown = 0, .add_bos = true}, source) {
    add_space_ = metadata.Bool("tokenizer.ggml.add_space_prefix").value_or(true);
    const std::string* when = metadata.String("tokenizer.halftone.space_prefix");
    if (add_space_ && when != nullptr) scheme_ = *when == "first" ? "first" : "always";
  }

 protected:
  OrderedJson Normalizer() const override {
    if (scheme_) return nullptr;
    const OrderedJson replace = {
        {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}};
    if (!add_space_) return replace;
    const OrderedJson prepend = {{"type", "Prepend"}, {"prepend", kSpaceMark}};
    return {{"type", "Sequence"}, {"normalizers", OrderedJson::array({prepend, replace})}};
  }

  OrderedJson PreTokenizerJson() const override {
    if (!scheme_) return nullptr;
    return {{"type", "Metaspace"},
            {"replacement", kSpaceMark},
            {"prepend_scheme", *scheme_},
            {"split", false}};
  }

  OrderedJson Decoder() const override {
    OrderedJson list = OrderedJson::array(
        {{{"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}},
         {{"type", "ByteFallback"}},
         {{"type", "Fuse"}}});
    if (add_space_) {
      list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    return {{"type", "Sequence"}, {"decoders", list}};
  }

  OrderedJson Model() const override { return Bpe(true, false, Merges()); }

 private:
  // Whether pairs may form the token: the spelled-out text of a control token is only text.
  bool Merges(int32_t id) const {
    return id >= 0 && vocabulary_.type(id) != TokenType::kControl &&
           vocabulary_.type(id) != TokenType::kUnknown;
  }

  OrderedJson Merges() const {
    OrderedJson list = OrderedJson::array();
    const auto add = [&](std::string_view left, std::string_view right) {
      list.push_back(OrderedJson::array({left, right}));
    };
    if (const auto* merges = metadata_.Strings("tokenizer.ggml.merges")) {
      for (const std::string& merge : *merges) {
        const size_t space = merge.find(' ', 1);
        if (space == std::string::npos) continue;
        const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
        if (Merges(vocabulary_.Find(left)) && Merges(vocabulary_.Find(right)) &&
            Merges(vocabulary_.Find(left + right))) {
          add(left, right);
        }
      }
      return list;
    }
    const std::vector<int32_t> tokens = ByScore();
    int32_t last = -1;
    for (const int32_t id : tokens) {
      const std::string_view text = vocabulary_.text(id);
      const size_t before = list.size();
      // The longest left part first, as runs of spaces grow.
      for (size_t cut = text.size() - 1; cut > 0; --cut) {
        const auto left = text.substr(0, cut), right = text.substr(cut);
        if (Merges(vocabulary_.Find(left)) && Merges(vocabulary_.Find(right))) add(left, right);
      }
      if (list.size() == before || IsRun(text)) continue;
      if (last >= 0 && vocabulary_.score(last) == vocabulary_.score(id)) {
        FailUnsupported(
            "{}: tokens '{}' and '{}' have one score, so that their places in the text decide "
            "which "
            "is merged first; tokenizer.json cannot say that",
            source_, Printable(vocabulary_.text(last)), Printable(text));
      }
      last = id;
    }
    return list;
  }

  // The tokens that pairs form, the strongest first.
  std::vector<int32_t> ByScore() const {
    std::vector<int32_t> ids;
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      const std::string& text = vocabulary_.text(id);
      // User-defined tokens are cut out of the text before anything is merged.
      const bool merged = Merges(id) && vocabulary_.type(id) != TokenType::kUserDefined;
      if (merged && text.size() > 1 && vocabulary_.Find(text) == id) ids.push_back(id);
    }
    std::ranges::stable_sort(ids, [&](int32_t a, int32_t b) {
      if (vocabulary_.score(a) != vocabulary_.score(b)) {
        return vocabulary_.score(a) > vocabulary_.score(b);
      }
      return vocabulary_.text(a).size() > vocabulary_.text(b).size();
    });
    return ids;
  }

  bool add_space_ = true;
  std::optional<std::string> scheme_;  // of Metaspace, where a space is not always added
};

std::unique_ptr<HfWriter> MakeWriter(const std::string& model, const Metadata& metadata,
                                     const std::string& source) {
  if (model == "gpt2") {
    const std::string* pre = metadata.String("tokenizer.ggml.pre");
    return std::make_unique<ByteLevelWriter>(metadata, PreTokenizer(pre ? *pre : "default", source),
                                             source);
  }
  if (model == "llama") return std::make_unique<SpmWriter>(metadata, source);
  if (model == "t5") return NewHfUnigramWriter(metadata, source);
  if (model == "bert") return NewHfWordPieceWriter(metadata, source);
  FailUnsupported(
      "{}: a vocabulary of tokenizer.ggml.model '{}' has no form in tokenizer.json; keep the model "
      "in a GGUF file",
      source, Printable(model));
}

// One template, or several with names.
void SetChatTemplate(const Metadata& metadata, OrderedJson& config) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  const std::string* main = metadata.String(kKey);
  OrderedJson named = OrderedJson::array();
  for (const auto& [key, value] : metadata.entries()) {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr || !key.starts_with(std::string(kKey) + ".")) continue;
    named.push_back({{"name", key.substr(kKey.size() + 1)}, {"template", *text}});
  }
  if (named.empty()) {
    if (main != nullptr) config["chat_template"] = *main;
    return;
  }
  if (main != nullptr) {
    const OrderedJson first = {{"name", "default"}, {"template", *main}};
    named.insert(named.begin(), first);
  }
  config["chat_template"] = named;
}

}  // namespace

std::map<std::string, std::string> HfTokenizerDocuments(const Metadata& metadata, int64_t context,
                                                        const std::string& source) {
  const std::string* model = metadata.String("tokenizer.ggml.model");
  if (model == nullptr || *model == "none") return {};
  const std::unique_ptr<HfWriter> writer = MakeWriter(*model, metadata, source);
  const OrderedJson special = writer->SpecialTokens();
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"clean_up_tokenization_spaces", false},
                        {"model_max_length", context},
                        {"add_bos_token", writer->add_bos()},
                        {"add_eos_token", writer->add_eos()}};
  // Byte-level tokenizers here never add one, whatever the key says.
  if (*model == "gpt2" && metadata.Find("tokenizer.ggml.add_space_prefix") != nullptr) {
    config["add_prefix_space"] = false;
  }
  for (const auto& [name, text] : special.items()) config[name] = text;
  SetChatTemplate(metadata, config);
  return {{"tokenizer.json", Text(writer->TokenizerJson())},
          {"tokenizer_config.json", Text(config)},
          {"special_tokens_map.json", Text(special)}};
}

}  // namespace halftone
