// Numbers and texts laid out by a format specification.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

struct FormatSpec {
  std::string fill = " ";  // one character
  char align = '\0';       // < > ^ =; none: as the value's type has it
  char sign = '-';         // - + or a space
  bool alternate = false;
  char grouping = '\0';  // , or _
  int64_t width = 0;
  int64_t precision = -1;  // -1: none
  char type = '\0';
};

// Pads `text` to the specification's width, in characters; numbers (their sign and prefix, and
// their digits) may be padded in between.
std::string Pad(Heap& heap, const FormatSpec& spec, char default_align, std::string_view sign,
                std::string_view text);
// A number by type b c d o x X, or e E f F g G %, with sign, prefix and grouping.
std::string FormatInteger(Heap& heap, const FormatSpec& spec, int64_t value);
std::string FormatFloat(Heap& heap, const FormatSpec& spec, double value);

// [[fill]align][sign][#][0][width][grouping][.precision][type]. Throws where it is malformed.
FormatSpec ParseFormatSpec(std::string_view text);

}  // namespace halftone::jinja
