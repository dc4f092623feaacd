// Values to JSON text, as Python's json.dumps writes it.

#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; none: all on one line
  std::optional<std::string> item_separator;
  std::optional<std::string> key_separator;
};

// Throws where a value has no JSON form.
std::string ToJson(Heap& heap, const Value& value, const JsonOptions& options);

Value FromJson(Heap& heap, const OrderedJson& json);

}  // namespace halftone::jinja
