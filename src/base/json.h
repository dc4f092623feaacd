// JSON through nlohmann-json, with errors that name the file.

#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace halftone {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// Parses `text`; throws Error (kFormat) "<source>: not valid JSON at byte N" otherwise. `source`
// names the file.
Json ParseJson(std::string_view text, const std::string& source);

}  // namespace halftone
