// tokenizer.json to tokenizer.ggml.*, as convert_hf_to_gguf.py of llama.cpp writes it.
//
// Byte-level vocabularies become "gpt2": tokens by id, those among the added tokens that are
// special or look it as control tokens (type 3), the others as user-defined (4), ids without a
// token as "[PADn]" (5). Vocabularies with byte fallback, which came from SentencePiece, become
// "llama". The converter has only a placeholder for their scores where SentencePiece's own file is
// missing; here a token's score is minus the rank of the first merge that makes it, which is the
// order that the scores had before they were turned into merges. Two keys that llama.cpp does not
// know say what scores and add_space_prefix cannot (spm.cc).

#include "tokenizer/hf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary.h"

namespace halftone {
namespace {

// Sixteen times the largest vocabulary in use, and still only some hundred megabytes of padding.
constexpr int64_t kLargestVocabulary = int64_t{1} << 22;
constexpr float kNoScore = -10000.0f;

// Added tokens that some models forget to call special.
bool LooksSpecial(std::string_view text) {
  constexpr std::string_view kBar = "\uFF5C";  // a wide "|"
  for (const std::string_view known : {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}) {
    if (text == known) return true;
  }
  if (text.starts_with("<unused") && text.ends_with(">")) return true;
  if (!text.starts_with("<") || !text.ends_with(">")) return false;
  const std::string_view inner = text.substr(1, text.size() - 2);
  return (inner.starts_with("|") && inner.ends_with("|")) ||
         (inner.starts_with(kBar) && inner.ends_with(kBar));
}

// Whether the text is one character over and over.
bool IsRun(std::string_view text) {
  const auto bytes = static_cast<size_t>(DecodeUtf8(text, 0).bytes);
  for (size_t at = bytes; at < text.size(); ++at) {
    if (text[at] != text[at - bytes]) return false;
  }
  return true;
}

class VocabularyReader {
 public:
  VocabularyReader(const HfDocuments& documents, int64_t vocab_size)
      : documents_(documents), model_(Member(documents.tokenizer(), "model")) {
    ReadVocabulary(vocab_size);
    ReadAddedTokens();
  }

  // `bytes_as_tokens`: "<0x0A>" is a byte.
  void SetTokens(bool bytes_as_tokens, Metadata& metadata) const {
    std::vector<std::string> texts;
    std::vector<int32_t> types;
    for (size_t id = 0; id < texts_.size(); ++id) {
      TokenType type = types_[id];
      texts.push_back(type == TokenType::kUnused ? fmt::format("[PAD{}]", id) : texts_[id]);
      if (bytes_as_tokens && type == TokenType::kNormal && texts_[id].size() == 6 &&
          texts_[id].starts_with("<0x") && texts_[id].ends_with(">")) {
        type = TokenType::kByte;
      }
      types.push_back(static_cast<int32_t>(type));
    }
    metadata.Set("tokenizer.ggml.tokens", Array{std::move(texts)});
    if (unigram()) {
      metadata.Set("tokenizer.ggml.scores", Array{scores_});
    } else if (bytes_as_tokens) {
      metadata.Set("tokenizer.ggml.scores", Array{Scores()});
    }
    metadata.Set("tokenizer.ggml.token_type", Array{std::move(types)});
  }

  // Word pieces: GGUF marks the tokens that begin a word, tokenizer.json those that do not.
  void SetWordPieces(Metadata& metadata) const {
    const std::string prefix = model_.value("continuing_subword_prefix", "##");
    if (prefix.empty()) Malformed("model.continuing_subword_prefix is empty");
    std::vector<std::string> texts;
    std::vector<int32_t> types;
    for (size_t id = 0; id < texts_.size(); ++id) {
      const std::string& text = texts_[id];
      TokenType type = types_[id];
      if (text == model_.value("unk_token", "[UNK]")) type = TokenType::kUnknown;
      const bool goes_on = text.starts_with(prefix) && text.size() > prefix.size();
      texts.push_back(type == TokenType::kUnused   ? fmt::format("[PAD{}]", id)
                      : type != TokenType::kNormal ? text
                      : goes_on                    ? text.substr(prefix.size())
                                                   : std::string(kSpaceMark) + text);
      types.push_back(static_cast<int32_t>(type));
    }
    metadata.Set("tokenizer.ggml.tokens", Array{std::move(texts)});
    metadata.Set("tokenizer.ggml.token_type", Array{std::move(types)});
  }

  // Whether the tokens have probabilities in place of merges.
  bool unigram() const { return Member(model_, "type") == "Unigram"; }

  // Whether merging the pair whose token has the highest score merges what the list of merges says,
  // in the order that it says (but for equal tokens at overlapping places): the merges of a token
  // stand together, and every cut of a token into two others is one. SentencePiece's merges are
  // like that, but for runs of spaces, which have equal scores and grow from the left either way.
  // Merges that were learned as such name one cut for each token.
  bool ScoresSuffice() const {
    std::unordered_set<std::string> merges;
    std::unordered_set<std::string> results;
    std::string last;
    for (const std::string& merge : Merges()) {
      std::string result = Result(merge);
      if (result != last && !results.insert(result).second && !IsRun(result)) return false;
      last = std::move(result);
      merges.insert(merge);
    }
    std::unordered_set<std::string_view> tokens;
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (types_[id] == TokenType::kNormal) tokens.insert(texts_[id]);
    }
    for (const std::string_view token : tokens) {
      for (size_t at = 1; at < token.size(); ++at) {
        const std::string_view left = token.substr(0, at);
        const std::string_view right = token.substr(at);
        if (tokens.contains(left) && tokens.contains(right) &&
            !merges.contains(std::string(left).append(" ").append(right))) {
          return false;
        }
      }
    }
    return true;
  }

  // Whether a token has a space elsewhere than at its beginning.
  bool JoinsWords() const {
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (types_[id] == TokenType::kNormal && texts_[id].find(kSpaceMark, 1) != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  // "left right"; a space inside a part is written as the byte alphabet's U+0120.
  std::vector<std::string> Merges() const {
    std::vector<std::string> merges;
    const Json& list = Member(model_, "merges");
    if (!list.is_array()) Malformed("model.merges is no array");
    for (const Json& merge : list) {
      if (merge.is_string()) {
        merges.push_back(merge.get<std::string>());
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
        merges.push_back(fmt::format("{} {}", Part(merge[0]), Part(merge[1])));
      } else {
        Malformed("model.merges holds something that is no pair");
      }
    }
    return merges;
  }

 private:
  [[noreturn]] void Malformed(std::string_view what) const {
    FailFormat("{}: {} in tokenizer.json", documents_.source(), what);
  }

  // The text that a merge makes.
  std::string Result(const std::string& merge) const {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) Malformed("model.merges holds something that is no pair");
    return merge.substr(0, space) + merge.substr(space + 1);
  }

  static std::string Part(const Json& part) {
    std::string text;
    for (const char c : part.get_ref<const std::string&>()) {
      if (c == ' ') {
        text += "\u0120";
      } else {
        text += c;
      }
    }
    return text;
  }

  void ReadVocabulary(int64_t vocab_size) {
    const Json& vocabulary = Member(model_, "vocab");
    if (!unigram() && !vocabulary.is_object()) Malformed("model.vocab is no object");
    if (unigram() && !vocabulary.is_array()) Malformed("model.vocab is no array");
    if (vocab_size > kLargestVocabulary) {
      FailFormat("{}: a vocabulary of {} tokens is too large", documents_.source(), vocab_size);
    }
    CheckVocabularySize(Tokens(vocabulary), vocab_size, documents_.source());
    if (vocab_size <= 0) vocab_size = SmallestSize(vocabulary);
    texts_.resize(static_cast<size_t>(vocab_size));
    types_.assign(texts_.size(), TokenType::kUnused);
    if (unigram()) {
      ReadProbabilities(vocabulary);
    } else {
      for (const auto& [text, id] : vocabulary.items()) Place(id, text, TokenType::kNormal);
    }
  }

  // [text, score] by id.
  void ReadProbabilities(const Json& vocabulary) {
    scores_.assign(texts_.size(), kNoScore);
    for (size_t id = 0; id < vocabulary.size(); ++id) {
      const Json& entry = vocabulary[id];
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() ||
          !entry[1].is_number()) {
        Malformed("model.vocab holds something that is no token with a score");
      }
      texts_[id] = entry[0].get<std::string>();
      scores_[id] = entry[1].get<float>();
      types_[id] = TokenType::kNormal;
    }
    const Json& unknown = Member(model_, "unk_id");
    if (!unknown.is_number_integer() || unknown.get<int64_t>() < 0 ||
        unknown.get<int64_t>() >= static_cast<int64_t>(vocabulary.size())) {
      FailUnsupported("{}: a unigram model without an unknown token is not supported",
                      documents_.source());
    }
    types_[unknown.get<size_t>()] = TokenType::kUnknown;
  }

  // How many there are, whatever their ids. An added token usually is in the vocabulary too.
  int64_t Tokens(const Json& vocabulary) const {
    const auto listed = static_cast<int64_t>(vocabulary.size());
    int64_t count = listed;
    for (const Json& token : AddedTokens()) {
      const Json& id = Member(token, "id");
      const bool known = unigram() ? id.is_number_integer() && id.get<int64_t>() < listed
                                   : vocabulary.contains(TokenContent(token));
      if (!known) ++count;
    }
    return count;
  }

  int64_t SmallestSize(const Json& vocabulary) const {
    int64_t size = 0;
    // An id beyond the largest vocabulary will find no place, and none is made for it.
    const auto include = [&](const Json& id) {
      if (!id.is_number_integer()) return;
      const auto value = id.get<int64_t>();
      if (value < kLargestVocabulary) size = std::max(size, value + 1);
    };
    if (vocabulary.is_array()) {
      size = std::min(static_cast<int64_t>(vocabulary.size()), kLargestVocabulary);
    } else {
      for (const Json& id : vocabulary) include(id);
    }
    for (const Json& token : AddedTokens()) include(Member(token, "id"));
    return size;
  }

  void Place(const Json& id, const std::string& text, TokenType type) {
    const int64_t size = static_cast<int64_t>(texts_.size());
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= size) {
      FailFormat("{}: tokenizer.json gives token '{}' the id {}, outside the vocabulary of {}",
                 documents_.source(), Printable(text), id.is_number() ? id.dump() : id.type_name(),
                 size);
    }
    const auto at = id.get<size_t>();
    if (types_[at] != TokenType::kUnused && texts_[at] != text) {
      FailFormat("{}: tokenizer.json gives the id {} to both '{}' and '{}'", documents_.source(),
                 at, Printable(texts_[at]), Printable(text));
    }
    texts_[at] = text;
    types_[at] = type;
  }

  const Json& AddedTokens() const {
    static const Json kNone = Json::array();
    const Json& added = Member(documents_.tokenizer(), "added_tokens");
    return added.is_array() ? added : kNone;
  }

  void ReadAddedTokens() {
    // tokenizer_config.json may call further tokens special, whichever role it gives them.
    std::set<std::string> special;
    for (const auto& [key, value] : documents_.tokenizer_config().items()) {
      const bool list = key == "additional_special_tokens" || key == "extra_special_tokens";
      if (list && value.is_structured()) {
        for (const Json& token : value) special.insert(TokenContent(token));
      } else if (key.ends_with("_token")) {
        special.insert(TokenContent(value));
      }
    }
    const Json& decoder = Member(documents_.tokenizer_config(), "added_tokens_decoder");
    if (decoder.is_object()) {
      for (const Json& token : decoder) {
        if (Member(token, "special") == true) special.insert(TokenContent(token));
      }
    }
    special.erase("");  // of members that hold no text
    for (const Json& token : AddedTokens()) {
      const std::string text = TokenContent(token);
      const bool control =
          Member(token, "special") == true || LooksSpecial(text) || special.contains(text);
      const Json& id = Member(token, "id");
      const bool unknown = control && unigram() && Member(model_, "unk_id") == id;
      Place(id, text,
            unknown   ? TokenType::kUnknown
            : control ? TokenType::kControl
                      : TokenType::kUserDefined);
      if (!control) texts_[id.get<size_t>()] = MarksToSpaces(text);
    }
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (types_[id] == TokenType::kNormal && special.contains(texts_[id])) {
        types_[id] = TokenType::kControl;
      }
    }
  }

  std::vector<float> Scores() const {
    std::unordered_map<std::string, float> by_text;
    float rank = 0;
    for (const std::string& merge : Merges()) {
      by_text.try_emplace(Result(merge), -rank);
      ++rank;
    }
    std::vector<float> scores(texts_.size(), kNoScore);
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (types_[id] == TokenType::kUnused) continue;
      const auto it = by_text.find(texts_[id]);
      scores[id] = it == by_text.end() ? -rank : it->second;
    }
    return scores;
  }

  const HfDocuments& documents_;
  const Json& model_;
  std::vector<std::string> texts_;
  std::vector<TokenType> types_;
  std::vector<float> scores_;  // of a unigram model
};

// Options of the model that change ids and that GGUF cannot express.
void CheckModel(const Json& model, const std::string& source) {
  const std::string type = model.value("type", "BPE");
  if (type == "WordPiece") return;
  if (type != "BPE" && type != "Unigram") {
    FailUnsupported("{}: model type '{}' of tokenizer.json is not supported", source,
                    Printable(type));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix", "dropout"}) {
    const Json& option = Member(model, key);
    if (!option.is_null() && option != "" && option != 0.0) {
      FailUnsupported("{}: {} of tokenizer.json is not supported", source, key);
    }
  }
}

void SetSpaces(const HfDocuments& files, const VocabularyReader& vocabulary, Metadata& metadata) {
  const HfSpaces spaces = ReadHfSpaces(files.tokenizer(), files.source());
  if (spaces.split && vocabulary.JoinsWords()) {
    FailUnsupported("{}: tokenizer.json cuts words apart that some of its tokens join",
                    files.source());
  }
  if (vocabulary.unigram()) {
    metadata.Set("tokenizer.ggml.add_space_prefix", spaces.prefix != HfSpaces::Prefix::kNever);
    metadata.Set("tokenizer.ggml.remove_extra_whitespaces", spaces.merge);
  } else if (spaces.merge || !spaces.character_map.empty()) {
    FailUnsupported("{}: normalizers of tokenizer.json that a byte-pair model cannot have in GGUF",
                    files.source());
  }
  if (!spaces.character_map.empty()) {
    metadata.Set(
        "tokenizer.ggml.precompiled_charsmap",
        Array{std::vector<uint8_t>(spaces.character_map.begin(), spaces.character_map.end())});
  }
  if (spaces.prefix == HfSpaces::Prefix::kNever) {
    metadata.Set("tokenizer.ggml.add_space_prefix", false);
  } else if (spaces.prefix != HfSpaces::Prefix::kAlways) {
    const bool first = spaces.prefix == HfSpaces::Prefix::kFirstMissing;
    metadata.Set("tokenizer.halftone.space_prefix", std::string(first ? "first" : "missing"));
  }
}

// The quirks of the converter's classes for the Llama family.
bool IsLlamaFamily(const Json& config) {
  const Json& architectures = Member(config, "architectures");
  if (!architectures.is_array() || architectures.empty()) return true;
  for (const char* name : {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM",
                           "MixtralForCausalLM", "LlamaModel"}) {
    if (architectures[0] == name) return true;
  }
  return false;
}

}  // namespace

HfDocuments::HfDocuments(const std::map<std::string, std::string>& texts, const std::string& source)
    : source_(source) {
  tokenizer_ = Object(texts, "tokenizer.json");
  tokenizer_config_ = Object(texts, "tokenizer_config.json");
  config_ = Object(texts, "config.json");
  const auto jinja = texts.find("chat_template.jinja");
  if (jinja != texts.end()) {
    template_file_["chat_template"] = jinja->second;
  } else {
    template_file_ = Object(texts, "chat_template.json");
  }
}

Json HfDocuments::Object(const std::map<std::string, std::string>& texts,
                         const std::string& name) const {
  const auto it = texts.find(name);
  if (it == texts.end()) return nullptr;
  const std::string path = source_ + "/" + name;
  Json json = ParseJson(it->second, path);
  if (!json.is_object()) FailFormat("{}: no JSON object", path);
  return json;
}

const Json& HfDocuments::chat_template() const { return Member(template_file_, "chat_template"); }

const Json& Member(const Json& object, std::string_view key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string TokenContent(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  const Json& content = Member(token, "content");
  return content.is_string() ? content.get<std::string>() : std::string();
}

void CheckVocabularySize(int64_t tokens, int64_t rows, const std::string& source) {
  if (rows <= 0 || tokens <= rows) return;
  FailFormat("{}: the tokenizer has {} tokens but the embedding only {} rows", source, tokens,
             rows);
}

Metadata TokenizerMetadataFromHf(const std::map<std::string, std::string>& documents,
                                 int64_t vocab_size, const std::string& source) {
  const HfDocuments files(documents, source);
  const auto spm = documents.find("tokenizer.model");
  if (files.tokenizer().is_null() && spm != documents.end()) {
    return MetadataFromSpmModel(files, spm->second, vocab_size);
  }
  if (files.tokenizer().is_null()) FailUnsupported("{}: there is no tokenizer.json", source);
  const Json& model = Member(files.tokenizer(), "model");
  if (!model.is_object()) FailFormat("{}: tokenizer.json has no model", source);
  try {
    CheckModel(model, source);
    const bool llama_family = IsLlamaFamily(files.config());
    // In a byte-level vocabulary the option has nothing to do: every byte is a token.
    const bool byte_fallback = Member(model, "byte_fallback") == true &&
                               Member(Member(files.tokenizer(), "decoder"), "type") != "ByteLevel";
    const VocabularyReader vocabulary(files, vocab_size);
    if (Member(model, "type") == "WordPiece") {
      Metadata metadata;
      metadata.Set("tokenizer.ggml.model", std::string("bert"));
      metadata.Set("tokenizer.ggml.pre", std::string("default"));
      vocabulary.SetWordPieces(metadata);
      SetHfSpecialTokens(files, metadata);
      SetHfWordPieces(files, metadata);
      return metadata;
    }
    const bool bytes = !byte_fallback && !vocabulary.unigram();  // tokens are bytes, not text
    Metadata metadata;
    const Json& prefix = Member(files.tokenizer_config(), "add_prefix_space");
    if (llama_family && prefix.is_boolean()) {
      metadata.Set("tokenizer.ggml.add_space_prefix", prefix.get<bool>());
    }
    metadata.Set("tokenizer.ggml.model", std::string(vocabulary.unigram() ? "t5"
                                                     : byte_fallback      ? "llama"
                                                                          : "gpt2"));
    const std::string_view pre = bytes ? HfPreTokenizer(files.tokenizer(), source) : "default";
    metadata.Set("tokenizer.ggml.pre", std::string(pre));
    vocabulary.SetTokens(byte_fallback, metadata);
    if (bytes || (!vocabulary.unigram() && !vocabulary.ScoresSuffice())) {
      metadata.Set("tokenizer.ggml.merges", Array{vocabulary.Merges()});
    }
    SetHfSpecialTokens(files, metadata);
    if (!bytes) SetSpaces(files, vocabulary, metadata);
    if (vocabulary.unigram()) {
      metadata.Set("tokenizer.ggml.unknown_token_id",
                   static_cast<uint32_t>(Member(model, "unk_id").get<int64_t>()));
      // GGUF's "t5" implies eos.
      if (metadata.Find("tokenizer.ggml.add_eos_token") == nullptr) {
        metadata.Set("tokenizer.ggml.add_eos_token", false);
      }
    }
    // Granite's small models, says the converter; SmolLM shares their size and the answer.
    if (llama_family && vocab_size == 49152) {
      metadata.Set("tokenizer.ggml.add_bos_token", false);
    }
    // Some names of pre-tokenizers imply bos. Here nothing asked for it.
    if (bytes && metadata.Find("tokenizer.ggml.add_bos_token") == nullptr &&
        PreTokenizer(pre, source).add_bos()) {
      metadata.Set("tokenizer.ggml.add_bos_token", false);
    }
    return metadata;
  } catch (const Json::exception&) {
    FailFormat("{}: tokenizer.json has a value of an unexpected type", source);
  }
}

}  // namespace halftone
