// A model's tokenizer and chat template, without its weights.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace halftone {

class ModelTokenizer {
 public:
  // Of a file or folder in any container. Throws Error: kUnsupported if it holds no tokenizer or
  // one of an unknown kind.
  static std::unique_ptr<ModelTokenizer> Open(const std::string& path);
  virtual ~ModelTokenizer() = default;

  virtual int64_t vocabulary() const = 0;  // tokens
  virtual int32_t bos() const = 0;         // begins a text; -1: there is none
  virtual int32_t eos() const = 0;         // ends a text; -1: there is none
  // Whether generation ends at this token (end of text, of a turn, of a message).
  virtual bool EndsGeneration(int32_t id) const = 0;

  // Token ids of a text. The texts of special tokens in it become those tokens. With `frame` the
  // tokens are added that the tokenizer puts around every text.
  virtual std::vector<int32_t> Encode(std::string_view text, bool frame = true) const = 0;
  // The text of token ids, without the space that Encode puts in front of it; control tokens give
  // their names unless they are skipped. May begin or end within a UTF-8 sequence. Throws Error
  // (kUsage) for an id outside the vocabulary.
  virtual std::string Decode(const std::vector<int32_t>& ids, bool skip_special = false) const = 0;

  // The chat template, a Jinja program; empty: there is none.
  virtual std::string chat_template() const = 0;
  // Renders it. `variables` is a JSON object of what it sees: "messages", an array of objects with
  // "role" and "content"; "add_generation_prompt", which opens the assistant's turn; "tools" and
  // whatever else a template knows. bos_token and eos_token are added. Throws Error: kUnsupported
  // if there is no template, kUsage for what is no JSON object and what the template refuses.
  virtual std::string ApplyChatTemplate(std::string_view variables) const = 0;
};

}  // namespace halftone
