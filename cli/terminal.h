// What the two output streams can show, and control characters kept away from them.

#pragma once

#include <string>
#include <string_view>

namespace halftone::cli {

// Whether the file descriptor is a terminal.
bool IsTerminal(int fd);

// Whether lines on it can be drawn anew: a terminal that is not dumb.
bool HasCursor(int fd);

// Whether it may show colour: it has a cursor, and NO_COLOR is not set (https://no-color.org).
bool HasColour(int fd);

// Whether the environment's locale is UTF-8.
bool IsUtf8Locale();

// Columns of the terminal behind `fd`, asked anew each time because windows change; 80 if unknown.
int TerminalColumns(int fd);

// The text with control characters written as \n, \t or \x1b and broken UTF-8 as U+FFFD: names and
// strings of a hostile file must not reach a terminal as they are.
std::string Printable(std::string_view text);

// Columns that a text without control characters takes: one for each code point.
int DisplayWidth(std::string_view text);

// At most `columns` wide; what is cut off gives way to an ellipsis.
std::string Shorten(std::string_view text, int columns);

}  // namespace halftone::cli
