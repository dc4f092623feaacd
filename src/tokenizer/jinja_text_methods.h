// What the methods of str and the filters of the same names share.

#pragma once

#include <string>
#include <string_view>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// str.replace: the first `count` occurrences of `old`, all where `count` is negative. An empty
// `old` is found before every character and at the end.
std::string Replaced(Heap& heap, std::string_view text, std::string_view old, std::string_view now,
                     int64_t count);

}  // namespace halftone::jinja
