// Special ids and the chat template, from tokenizer.json, tokenizer_config.json and config.json.
//
// A role (bos, eos ...) has the token that tokenizer_config.json names for it, looked up among the
// added tokens of tokenizer.json, else the id in config.json. Whether bos and eos are added is what
// tokenizer.json's post-processor does, else what tokenizer_config.json says. Keys and their order
// are those of gguf-py's SpecialVocab (gguf/vocab.py in llama.cpp), except that a token given as an
// object is compared by its text.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/error.h"
#include "tokenizer/hf_tokenizer.h"

namespace halftone {
namespace {

struct Role {
  std::string_view name;
  // Empty where the converter writes none.
  std::string_view id_key;
  std::string_view add_key;
};

constexpr Role kRoles[] = {
    {"bos", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token"},
    {"eos", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_eos_token"},
    {"unk", "tokenizer.ggml.unknown_token_id", {}},
    {"sep", "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.add_sep_token"},
    {"pad", "tokenizer.ggml.padding_token_id", {}},
    {"cls", {}, {}},
    {"mask", "tokenizer.ggml.mask_token_id", {}},
    {"eot", "tokenizer.ggml.eot_token_id", {}},
    {"eom", "tokenizer.ggml.eom_token_id", {}},
};
constexpr size_t kAlwaysPresentRoles = 7;  // eot and eom only where a template demands them

class SpecialTokens {
 public:
  explicit SpecialTokens(const HfDocuments& documents) : documents_(documents) {
    for (const Role& role : kRoles) {
      const std::string key = std::string(role.name) + "_token";
      texts_[std::string(role.name)] = TokenContent(Member(documents.tokenizer_config(), key));
    }
    SetText("bos", texts_["cls"]);
    SetText("eos", texts_["sep"]);
    ReadPostProcessor();
  }

  void Set(Metadata& metadata) {
    if (documents_.tokenizer_config().is_object()) ReadTokenizerConfig();
    ReadConfig();
    for (const auto& [role, id] : ids_) {
      if (!Find(role).id_key.empty()) metadata.Set(Find(role).id_key, id);
    }
    for (const auto& [role, add] : adds_) metadata.Set(Find(role).add_key, add);
  }

 private:
  static const Role& Find(std::string_view name) {
    return *std::ranges::find(kRoles, name, &Role::name);
  }

  template <class T>
  static T* At(std::vector<std::pair<std::string_view, T>>& list, std::string_view role) {
    const auto it = std::ranges::find(list, role, &std::pair<std::string_view, T>::first);
    return it == list.end() ? nullptr : &it->second;
  }

  void SetAdd(std::string_view role, bool add, bool overwrite = true) {
    bool* present = At(adds_, role);
    if (present == nullptr) {
      adds_.emplace_back(role, add);
    } else if (overwrite) {
      *present = add;
    }
  }

  void SetId(std::string_view role, const Json& id) {
    if (!id.is_number_integer() || At(ids_, role) != nullptr) return;
    const auto value = id.get<int64_t>();
    if (value < 0 || value > INT32_MAX) {
      FailFormat("{}: {} is no id for the {} token", documents_.source(), value, role);
    }
    ids_.emplace_back(role, static_cast<uint32_t>(value));
  }

  void ReadPostProcessor() {
    const Json& post = Member(documents_.tokenizer(), "post_processor");
    if (!post.is_object()) return;
    const Json& list = Member(post, "processors");
    if (list.is_array()) {
      for (const Json& processor : list) ReadProcessor(processor);
    } else {
      ReadProcessor(post);
    }
  }

  void ReadProcessor(const Json& processor) {
    const Json& type = Member(processor, "type");
    if (type == "ByteLevel") {
      SetAdd("bos", false, false);
      SetAdd("eos", false, false);
    } else if (type == "RobertaProcessing") {
      for (const char* role : {"bos", "eos", "sep"}) SetAdd(role, true);
      for (const char* role : {"cls", "sep"}) {
        // [text, id]
        const Json& token = Member(processor, role);
        if (token.is_array() && !token.empty()) SetText(role, TokenContent(token[0]));
      }
    } else if (type == "TemplateProcessing") {
      ReadTemplate(processor);
    }
  }

  // For a role that has no text yet.
  void SetText(std::string_view role, const std::string& text) {
    std::string& present = texts_[std::string(role)];
    if (present.empty()) present = text;
  }

  static std::string Special(const Json& part) {
    const Json& id = Member(Member(part, "SpecialToken"), "id");
    return id.is_string() ? id.get<std::string>() : std::string();
  }

  void ReadTemplate(const Json& processor) {
    const Json& single = Member(processor, "single");
    std::string first;
    std::string last;
    if (single.is_array() && single.size() > 1) {
      first = Special(single.front());
      last = Special(single.back());
      if (!first.empty()) {
        SetText("bos", first);
        if (first != texts_["bos"]) SetText("cls", first);
        SetAdd("bos", first == texts_["bos"] || first == texts_["cls"]);
      }
      if (!last.empty()) {
        ReplaceEos(last);
        SetAdd("eos", true);
      }
    }
    ReadPair(Member(processor, "pair"), first, last);
  }

  // The template ends texts with another token than the one called eos: that one is it, and the old
  // one ends turns.
  void ReplaceEos(const std::string& last) {
    if (last == texts_["eos"]) return;
    if (documents_.tokenizer_config().is_object() && roles_ < std::size(kRoles)) {
      texts_[std::string(kRoles[roles_++].name)] = texts_["eos"];
    }
    texts_["eos"] = last;
  }

  // Whether a separator stands between two texts.
  void ReadPair(const Json& pair, const std::string& first, const std::string& last) {
    if (!pair.is_array() || pair.empty()) return;
    size_t begin = 0;
    size_t end = pair.size();
    if (!first.empty() && Special(pair.front()) == first) ++begin;
    if (!last.empty() && Special(pair.back()) == last) --end;
    // Text A, one or more tokens, text B.
    if (end < begin + 3 || Member(Member(pair[begin], "Sequence"), "id") != "A" ||
        Member(Member(pair[end - 1], "Sequence"), "id") != "B") {
      return;
    }
    const auto separates = [&](size_t at) {
      const std::string text = Special(pair[at]);
      return !text.empty() && (text == texts_["sep"] || text == texts_["eos"]);
    };
    const bool two = end - begin == 4;
    const bool add = (separates(begin + 1) && last.empty()) || (two && separates(begin + 2));
    SetAdd("sep", add);
    if (add) SetText("sep", texts_["eos"]);
  }

  void ReadTokenizerConfig() {
    const Json& added = Member(documents_.tokenizer(), "added_tokens");
    for (size_t i = 0; i < roles_; ++i) {
      const Role& role = kRoles[i];
      const std::string add_key = fmt::format("add_{}_token", role.name);
      const Json& add = Member(documents_.tokenizer_config(), add_key);
      if (add.is_boolean() && !role.add_key.empty()) SetAdd(role.name, add.get<bool>(), false);
      const std::string& text = texts_[std::string(role.name)];
      if (text.empty() || !added.is_array()) continue;
      const auto token =
          std::ranges::find_if(added, [&](const Json& t) { return Member(t, "content") == text; });
      if (token != added.end()) SetId(role.name, Member(*token, "id"));
    }
  }

  void ReadConfig() {
    for (size_t i = 0; i < roles_; ++i) {
      const std::string key = std::string(kRoles[i].name) + "_token_id";
      const Json& id = Member(documents_.config(), key);
      const Json& text_id = Member(Member(documents_.config(), "text_config"), key);
      SetId(kRoles[i].name, id.is_null() ? text_id : id);
    }
  }

  const HfDocuments& documents_;
  size_t roles_ = kAlwaysPresentRoles;        // the first so many of kRoles take part
  std::map<std::string, std::string> texts_;  // by role; empty: unknown
  std::vector<std::pair<std::string_view, uint32_t>> ids_;
  std::vector<std::pair<std::string_view, bool>> adds_;
};

// A template, or several with names, of which "default" is the one.
void SetChatTemplate(const Json& chat_template, Metadata& metadata) {
  if (chat_template.is_string()) {
    metadata.Set("tokenizer.chat_template", chat_template.get<std::string>());
    return;
  }
  if (!chat_template.is_array()) return;
  std::optional<std::string> main;
  std::vector<std::string> names;
  for (const Json& choice : chat_template) {
    const Json& name_value = Member(choice, "name");
    const Json& text = Member(choice, "template");
    if (!name_value.is_string() || !text.is_string()) continue;
    auto name = name_value.get<std::string>();
    for (char& c : name) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
      if (!plain) c = '_';
    }
    if (name == "default") {
      main = text.get<std::string>();
    } else if (!name.empty()) {
      metadata.Set("tokenizer.chat_template." + name, text.get<std::string>());
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  if (!names.empty()) metadata.Set("tokenizer.chat_templates", Array{names});
  if (main) metadata.Set("tokenizer.chat_template", *main);
}

}  // namespace

void SetHfSpecialTokens(const HfDocuments& documents, Metadata& metadata) {
  SpecialTokens(documents).Set(metadata);
  SetHfChatTemplate(documents, metadata);
}

void SetHfChatTemplate(const HfDocuments& documents, Metadata& metadata) {
  if (!documents.tokenizer_config().is_object()) return;
  const Json& own = Member(documents.tokenizer_config(), "chat_template");
  SetChatTemplate(own.is_null() ? documents.chat_template() : own, metadata);
}

}  // namespace halftone
