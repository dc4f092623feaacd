// What the "normalizer" and "pre_tokenizer" of a tokenizer.json do.
//
// llama.cpp's converter recognizes byte-level models by a hash of the ids of one text and refuses
// every vocabulary that it has not seen. The structure says the same about all of them: each
// element of "pre_tokenizer" is one step with a regular expression, and the list of steps is looked
// up. Models that came from SentencePiece have either a normalizer that turns spaces into U+2581
// and puts one before the text, or the pre-tokenizer Metaspace, which does both.

#include <fmt/format.h>

#include "base/base64.h"
#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/hf_tokenizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/space_mark.h"

namespace halftone {
namespace {

constexpr size_t kShown = 200;  // bytes of a pattern in an error

// What a person recognizes an element by. Never dumps JSON, which may be nested without end.
std::string Shown(const Json& element) {
  const Json& type = Member(element, "type");
  if (!type.is_string()) return element.type_name();
  const Json& regex = Member(Member(element, "pattern"), "Regex");
  if (!regex.is_string()) return fmt::format("'{}'", Printable(type.get<std::string>()));
  return fmt::format("'{}' with pattern {}", Printable(type.get<std::string>()),
                     Printable(regex.get<std::string>(), kShown));
}

class StepReader {
 public:
  explicit StepReader(const std::string& source) : source_(source) {}

  void Read(const Json& element) {
    const std::string type = element.value("type", "");
    if (type == "Sequence") {
      const Json& elements = Member(element, "pretokenizers");
      if (!elements.is_array()) Unsupported(element);
      for (const Json& e : elements) {
        if (!e.is_object() || e.value("type", "") == "Sequence") Unsupported(e);
        Read(e);
      }
    } else if (type == "Split") {
      ReadSplit(element);
    } else if (type == "Digits") {
      steps_.emplace_back(element.value("individual_digits", false) ? kDigitPattern
                                                                    : kDigitsPattern);
    } else if (type == "Punctuation") {
      const std::string behavior = element.value("behavior", "Isolated");
      if (behavior != "Contiguous" && behavior != "Isolated") Unsupported(element);
      std::string pattern(kPunctuationPattern);
      if (behavior == "Isolated") pattern.pop_back();  // one at a time: without the "+"
      steps_.push_back(pattern);
    } else if (type == "ByteLevel") {
      if (element.value("add_prefix_space", true)) Unsupported(element);
      if (element.value("use_regex", true)) steps_.emplace_back(kByteLevelPattern);
      byte_level_ = true;
    } else {
      Unsupported(element);
    }
  }

  bool byte_level() const { return byte_level_; }
  const std::vector<std::string>& steps() const { return steps_; }

  [[noreturn]] void Unsupported(const Json& element) const {
    FailUnsupported("{}: pre-tokenizer {} of tokenizer.json is not supported", source_,
                    Shown(element));
  }

 private:
  void ReadSplit(const Json& element) {
    const Json& pattern = Member(Member(element, "pattern"), "Regex");
    const std::string behavior = element.value("behavior", "");
    const bool invert = element.value("invert", false);
    // Keeping the matches and dropping the rest is the same, as the patterns match everything.
    const bool isolates = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
    if (!pattern.is_string() || !isolates) Unsupported(element);
    steps_.push_back(pattern.get<std::string>());
  }

  const std::string& source_;
  std::vector<std::string> steps_;
  bool byte_level_ = false;
};

// Calls `known` for the normalizer or each one of a Sequence; those for which it returns false are
// not supported. NFC changes nothing in text that already is in that form, as nearly all text is;
// GGUF has no key for it and llama.cpp does not apply it.
template <class Known>
void ReadNormalizers(const Json& normalizer, const std::string& source, const Known& known) {
  const auto read = [&](const Json& element) {
    if (element.is_null() || Member(element, "type") == "NFC" || known(element)) return;
    FailUnsupported("{}: normalizer {} of tokenizer.json is not supported", source, Shown(element));
  };
  const Json& sequence = Member(normalizer, "normalizers");
  if (Member(normalizer, "type") == "Sequence" && sequence.is_array()) {
    for (const Json& element : sequence) read(element);
  } else {
    read(normalizer);
  }
}

}  // namespace

std::string_view HfPreTokenizer(const Json& tokenizer, const std::string& source) {
  ReadNormalizers(Member(tokenizer, "normalizer"), source, [](const Json&) { return false; });
  const Json& element = Member(tokenizer, "pre_tokenizer");
  StepReader reader(source);
  if (!element.is_object()) reader.Unsupported(element);
  reader.Read(element);
  const Json& ignore_merges = Member(Member(tokenizer, "model"), "ignore_merges");
  const std::string_view name =
      PreTokenizerNamed(reader.steps(), ignore_merges.is_boolean() && ignore_merges.get<bool>());
  if (!reader.byte_level()) {
    FailUnsupported("{}: pre-tokenizer of tokenizer.json without ByteLevel is not supported",
                    source);
  }
  if (name.empty()) {
    std::string steps;
    for (const std::string& step : reader.steps()) steps += (steps.empty() ? "" : ", ") + step;
    FailUnsupported("{}: pre-tokenizer of tokenizer.json with the steps {} is not known", source,
                    Printable(steps, kShown));
  }
  return name;
}

namespace {

// What the normalizers of models that came from SentencePiece do; false for one that is not known.
bool ReadSpaceNormalizer(const Json& element, const std::string& source, HfSpaces& spaces,
                         bool& marked) {
  const Json& type = Member(element, "type");
  const Json& pattern = Member(element, "pattern");
  const Json& content = Member(element, "content");
  if (type == "Prepend" && Member(element, "prepend") == kSpaceMark) {
    spaces.prefix = HfSpaces::Prefix::kAlways;
  } else if (type == "Replace" && Member(pattern, "String") == " " && content == kSpaceMark) {
    marked = true;
  } else if (type == "Replace" && Member(pattern, "Regex") == " {2,}" &&
             (content == " " || content == kSpaceMark)) {
    spaces.merge = true;
  } else if (type == "Replace" && Member(pattern, "Regex") == kOuterSpaces && content == "") {
    spaces.trim = true;
  } else if (type == "Strip") {
    // Of the spaces at the beginning the prefix is left.
    if (!element.value("strip_right", false)) return false;
    spaces.merge = true;
  } else if (type == "Precompiled") {
    const Json& map = Member(element, "precompiled_charsmap");
    auto bytes = map.is_string() ? DecodeBase64(map.get_ref<const std::string&>()) : std::nullopt;
    if (!map.is_null() && !bytes) {
      FailFormat("{}: precompiled_charsmap of tokenizer.json is no base64", source);
    }
    if (bytes) spaces.character_map = std::move(*bytes);
  } else {
    return false;
  }
  return true;
}

// Metaspace, after the normalizers were read.
void ReadMetaspace(const Json& element, HfSpaces& spaces) {
  spaces.split = element.value("split", true);
  // Older files have a switch in place of the scheme.
  const bool prefix = element.value("add_prefix_space", true);
  const std::string scheme = element.value("prepend_scheme", prefix ? "always" : "never");
  if (spaces.prefix == HfSpaces::Prefix::kAlways || scheme == "never") {
    // The normalizer's space is there already, or none is wanted.
  } else if (scheme == "first") {
    spaces.prefix = HfSpaces::Prefix::kFirstMissing;
  } else {
    spaces.prefix = HfSpaces::Prefix::kMissing;
  }
}

}  // namespace

HfSpaces ReadHfSpaces(const Json& tokenizer, const std::string& source) {
  HfSpaces spaces;
  bool marked = false;
  ReadNormalizers(Member(tokenizer, "normalizer"), source, [&](const Json& element) {
    return ReadSpaceNormalizer(element, source, spaces, marked);
  });
  const auto read = [&](const Json& element) {
    const Json& type = Member(element, "type");
    if (type == "Metaspace" && Member(element, "replacement") == kSpaceMark) {
      marked = true;
      ReadMetaspace(element, spaces);
    } else if (type == "WhitespaceSplit" && !spaces.character_map.empty()) {
      // Its characters are spaces by now.
      spaces.merge = true;
    } else if (!element.is_null()) {
      // Gemma's Split at spaces, of which the normalizer has left none.
      const bool idle =
          marked && type == "Split" && Member(Member(element, "pattern"), "String") == " ";
      if (!idle) {
        FailUnsupported(
            "{}: pre-tokenizer {} of tokenizer.json is not supported with byte fallback or a "
            "unigram model",
            source, Shown(element));
      }
    }
  };
  const Json& element = Member(tokenizer, "pre_tokenizer");
  const Json& sequence = Member(element, "pretokenizers");
  if (Member(element, "type") == "Sequence" && sequence.is_array()) {
    for (const Json& e : sequence) read(e);
  } else {
    read(element);
  }
  if (spaces.trim && !spaces.merge) {
    FailUnsupported("{}: tokenizer.json takes spaces off the ends but keeps runs of them", source);
  }
  if (!marked) {
    FailUnsupported("{}: tokenizer.json has byte fallback but does not mark spaces with U+2581",
                    source);
  }
  return spaces;
}

}  // namespace halftone
