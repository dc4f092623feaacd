// Conversations as a model reads them: put through the chat template that its file carries.

#pragma once

#include <string>

#include "base/json.h"
#include "tensor/metadata.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

// `messages`: an array of objects with "role" and "content", and whatever else the template looks
// at. `tokenizer_metadata`: GGUF's, the template among it. `source` names the model. With
// `open_answer` the assistant's turn is opened. Throws Error: kUnsupported if there is no template,
// and what the template says of the conversation.
std::string RenderConversation(const Metadata& tokenizer_metadata, const Tokenizer& tokenizer,
                               const OrderedJson& messages, bool open_answer,
                               const std::string& source);

// The same with all that the template sees but bos_token and eos_token: an object with "messages",
// "add_generation_prompt" and whatever else.
std::string RenderTemplate(const Metadata& tokenizer_metadata, const Tokenizer& tokenizer,
                           OrderedJson variables, const std::string& source);

}  // namespace halftone
