#include "pipeline/conversation.h"

#include <utility>

#include "base/error.h"
#include "tokenizer/chat_template.h"

namespace halftone {

std::string RenderConversation(const Metadata& tokenizer_metadata, const Tokenizer& tokenizer,
                               const OrderedJson& messages, bool open_answer,
                               const std::string& source) {
  OrderedJson variables;
  variables["messages"] = messages;
  variables["add_generation_prompt"] = open_answer;
  return RenderTemplate(tokenizer_metadata, tokenizer, std::move(variables), source);
}

std::string RenderTemplate(const Metadata& tokenizer_metadata, const Tokenizer& tokenizer,
                           OrderedJson variables, const std::string& source) {
  const std::string* chat_template = tokenizer_metadata.String("tokenizer.chat_template");
  if (chat_template == nullptr) FailUnsupported("{}: the model has no chat template", source);
  const auto text_of = [&](int32_t id) {
    return id < 0 ? std::string() : tokenizer.TokenText(id, true);
  };
  variables["bos_token"] = text_of(tokenizer.bos());
  variables["eos_token"] = text_of(tokenizer.eos());
  return RenderChatTemplate(*chat_template, variables);
}

}  // namespace halftone
