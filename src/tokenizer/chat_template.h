// Chat templates: the Jinja that model files carry, rendered for a conversation.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace halftone {

// Renders `source` (a Jinja template) in an environment like transformers': trim_blocks and
// lstrip_blocks on. `context` holds messages, add_generation_prompt, bos_token, eos_token and
// whatever else. Throws Error (kUnsupported) naming the construct for what is not implemented,
// kFormat for a syntax error, and the template's own raise_exception as kUsage.
std::string RenderChatTemplate(std::string_view source, const OrderedJson& context);

}  // namespace halftone
