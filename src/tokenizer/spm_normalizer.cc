#include "tokenizer/spm_normalizer.h"

#include <cstring>
#include <variant>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/unicode.h"

namespace halftone {
namespace {

constexpr std::string_view kMapKey = "tokenizer.ggml.precompiled_charsmap";

CharacterMap ReadCharacterMap(const Metadata& metadata, const std::string& source) {
  const Value* value = metadata.Find(kMapKey);
  if (value == nullptr) return {};
  const Array* array = std::get_if<Array>(value);
  if (array != nullptr) {
    const auto map_of = [&](const auto& bytes) {
      return CharacterMap({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, source);
    };
    if (const auto* bytes = std::get_if<std::vector<uint8_t>>(&array->elements)) {
      return map_of(*bytes);
    }
    if (const auto* bytes = std::get_if<std::vector<int8_t>>(&array->elements)) {
      return map_of(*bytes);
    }
  }
  FailFormat("{}: {} is no array of bytes", source, kMapKey);
}

}  // namespace

CharacterMap::CharacterMap(std::string_view blob, const std::string& source) {
  if (blob.empty()) return;
  const auto broken = [&](std::string_view what) {
    FailFormat("{}: {}: {}", source, kMapKey, what);
  };
  if (blob.size() < 4) broken("too short");
  const auto trie_bytes = LoadLe<uint32_t>(reinterpret_cast<const uint8_t*>(blob.data()));
  if (trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4) broken("the trie passes the end");
  units_.resize(trie_bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) {
    units_[i] = LoadLe<uint32_t>(reinterpret_cast<const uint8_t*>(blob.data()) + 4 + 4 * i);
  }
  texts_ = blob.substr(4 + trie_bytes);
  if (!units_.empty() && (texts_.empty() || texts_.back() != '\0')) broken("a text has no end");
}

CharacterMap::Match CharacterMap::Longest(std::string_view text) const {
  Match longest;
  if (units_.empty()) return longest;
  const auto children = [](uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); };
  size_t node = children(units_[0]);
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    node ^= byte;
    // A byte 0 leads to a value and not to a child.
    if (byte == 0 || node >= units_.size()) break;
    const uint32_t unit = units_[node];
    if ((unit & 0x800000FF) != byte) break;
    node ^= children(unit);
    if ((unit & 0x100) == 0) continue;
    if (node >= units_.size()) break;
    const uint32_t place = units_[node] & 0x7FFFFFFF;
    if (place >= texts_.size()) break;
    longest = {texts_.c_str() + place, at + 1};
  }
  return longest;
}

SpmNormalizer::SpmNormalizer(const Metadata& metadata, bool prefix, const std::string& source)
    : space_prefix_(ReadSpacePrefix(metadata, prefix, source)),
      merge_spaces_(metadata.Bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false)),
      map_(ReadCharacterMap(metadata, source)) {}

SpmNormalizer::SpacePrefix SpmNormalizer::ReadSpacePrefix(const Metadata& metadata, bool prefix,
                                                          const std::string& source) {
  if (!metadata.Bool("tokenizer.ggml.add_space_prefix").value_or(prefix)) {
    return SpacePrefix::kNever;
  }
  const std::string* when = metadata.String("tokenizer.halftone.space_prefix");
  if (when == nullptr) return SpacePrefix::kAlways;
  if (*when == "missing") return SpacePrefix::kMissing;
  if (*when == "first") return SpacePrefix::kFirstMissing;
  FailUnsupported("{}: unknown tokenizer.halftone.space_prefix '{}'", source, Printable(*when));
}

bool SpmNormalizer::NeedsPrefix(std::string_view text, bool first) const {
  const bool begins_with_space = text.starts_with(' ') || text.starts_with(kSpaceMark);
  return space_prefix_ == SpacePrefix::kAlways ||
         (space_prefix_ == SpacePrefix::kMissing && !begins_with_space) ||
         (space_prefix_ == SpacePrefix::kFirstMissing && !begins_with_space && first);
}

void SpmNormalizer::Replace(std::string_view text, std::string& replaced) const {
  for (size_t at = 0; at < text.size();) {
    const CharacterMap::Match match = map_.Longest(text.substr(at));
    const size_t bytes = match.bytes > 0 ? match.bytes : DecodeUtf8(text, at).bytes;
    replaced += match.bytes > 0 ? match.replacement : text.substr(at, bytes);
    at += bytes;
  }
}

void SpmNormalizer::Normalize(std::string_view text, bool first, std::string& normalized) const {
  normalized.clear();
  std::string replaced;
  if (!map_.empty()) {
    Replace(text, replaced);
    text = replaced;
  }
  if (!merge_spaces_) {
    if (NeedsPrefix(text, first)) normalized += kSpaceMark;
    AppendMarkingSpaces(text, normalized);
    return;
  }
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return;
  if (NeedsPrefix(text.substr(begin), first)) normalized += kSpaceMark;
  bool after_space = false;
  for (const char c : text.substr(begin)) {
    if (c != ' ') {
      normalized += c;
    } else if (!after_space) {
      normalized += kSpaceMark;
    }
    after_space = c == ' ';
  }
  while (normalized.ends_with(kSpaceMark)) normalized.resize(normalized.size() - kSpaceMark.size());
}

}  // namespace halftone
