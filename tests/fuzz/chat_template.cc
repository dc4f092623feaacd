// A chat template, which is a program, over a conversation with tools.

#include "tokenizer/chat_template.h"

#include "tests/fuzz/targets.h"

namespace halftone {

void Fuzz_chat_template(std::string_view bytes) {
  static const OrderedJson context = OrderedJson::parse(R"({
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": " Look up  x\n"},
      {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "call_1",
        "function": {"name": "find", "arguments": {"key": "x", "n": 3, "deep": [1.5, null, true]}}}]},
      {"role": "tool", "name": "find", "content": "\u00e9<b>'\""},
      {"role": "user", "content": [{"type": "text", "text": "and?"}]}],
    "tools": [{"type": "function", "function": {"name": "find", "description": "Finds.",
      "parameters": {"type": "object", "properties": {"key": {"type": "string"}},
        "required": ["key"]}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})");
  MayRefuse([&] { RenderChatTemplate(bytes, context); });
}

}  // namespace halftone
