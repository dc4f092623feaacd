// "Did you mean": the known name with the smallest edit distance to what was typed.

#pragma once

#include <span>
#include <string_view>

namespace halftone {

// The first of `names` (not empty) with the smallest Levenshtein distance to `typed`.
std::string_view NearestName(std::string_view typed, std::span<const std::string_view> names);

}  // namespace halftone
