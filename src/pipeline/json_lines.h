// Texts and conversations in JSON lines; text_input.h says which forms a line may have.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/json.h"
#include "pipeline/text_input.h"

namespace halftone {

// A conversation, or a text that is not one.
struct JsonLine {
  OrderedJson messages = OrderedJson::array();  // each with "role" and "content"
  std::string text;
};

// Calls use(line, its number from 1) for each line that is not blank. Throws Error (kFormat) naming
// file and line for a broken one.
void ForEachJsonLine(const TextInput& input,
                     const std::function<void(const JsonLine& line, int64_t number)>& use);

// What is said, each message on a line of its own.
std::string ContentsOf(const JsonLine& line);

}  // namespace halftone
