// Values as text: Python's str() and repr(), and strings as sequences of code points.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// str(value): what printing it writes.
std::string Str(const Value& value);
// Appends it.
void AppendStr(const Value& value, std::string& out);
// repr(value). Functions and generators, which Python writes with their address, come without.
std::string Repr(const Value& value);

// Code points; a byte that is no UTF-8 counts as one.
int64_t CodePoints(std::string_view text);
// Where code point `index` (0 ... length) of the text begins.
size_t ByteOffset(const Text& text, int64_t index);
// The code points [begin, end) of the text.
std::string_view Substring(const Text& text, int64_t begin, int64_t end);

// `text` with & < > ' " written as HTML entities.
std::string EscapeHtml(std::string_view text);
// markupsafe.escape(): a Markup as it is, anything else escaped.
std::string Escaped(const Value& value);

// The lines of a text, with what ends them or without.
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);

// Where `needle` begins in `text` at or after byte `from`; npos if nowhere. Linear in the worst
// case, which std::string::find is not.
size_t Find(std::string_view text, std::string_view needle, size_t from = 0);
// Where the last `needle` begins; as linear.
size_t FindLast(std::string_view text, std::string_view needle);

}  // namespace halftone::jinja
