// Names out of a file, made safe to print: model files are hostile input and their strings go into
// messages on one line of somebody's terminal.

#pragma once

#include <string>
#include <string_view>

namespace halftone {

// `text` with control characters and bytes that are no UTF-8 written as \xNN, cut after `limit`
// bytes of the original (then followed by "...").
std::string Printable(std::string_view text, size_t limit = 128);

}  // namespace halftone
