// Strings made from templates of Python's two kinds: "%s" % x and "{}".format(x).

#pragma once

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// format % arguments.
Value FormatPercent(Interpreter& interpreter, const Value& format, const Value& arguments);
// format.format(arguments).
Value FormatBraces(Interpreter& interpreter, const Value& format, const Arguments& arguments);

}  // namespace halftone::jinja
