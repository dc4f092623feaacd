// Numbers as Python reads and writes them.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// repr() of a float: the shortest digits that read back as the same number.
std::string FloatRepr(double value);

// Digits and nothing else (a "-" before them is allowed); none if they exceed 64 bits.
std::optional<int64_t> ParseInteger(std::string_view digits, int base);
// A float literal without underscores.
double ParseFloat(std::string_view digits);

// int(text, base) and float(text): white space around, signs, underscores, prefixes, inf and nan.
// None where Python raises ValueError. ReadInteger throws where the value exceeds 64 bits.
std::optional<int64_t> ReadInteger(std::string_view text, int64_t base);
std::optional<double> ReadFloat(std::string_view text);

}  // namespace halftone::jinja
