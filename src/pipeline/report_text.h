// Text of a comparison's page: what a file or a model says is escaped, numbers are written for
// people. Everything here returns UTF-8 without tags, except where it says otherwise.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace halftone {

// What stands where a number was not measured: an en dash.
inline constexpr std::string_view kNoNumber = "\u2013";

// `text` as it may stand between tags and in a quoted attribute. Markup characters become entities;
// bytes that are no UTF-8 become U+FFFD; control characters, which HTML forbids, become their
// pictures (U+2400 to U+2421), but tabs and newlines stay.
std::string EscapeHtml(std::string_view text);

// JSON as it may stand in a <script> element: "<", ">" and "&" become \u escapes, so that no string
// can end the element or open a comment.
std::string EscapeJsonForScript(std::string_view json);

// With so many significant digits, at least all before the point, digits grouped in threes from
// 10,000 on: "0.0123", "18.6", "12 345". kNoNumber unless finite.
std::string Significant(double value, int digits);
// With so many decimals, grouped likewise.
std::string Decimals(double value, int decimals);
// "27 %": a fraction in percent.
std::string Percent(double fraction, int decimals = 0);
// "84.2 MB", "4.37 GB": 10^6 and 10^9 bytes.
std::string HumanBytes(double bytes);
// "0.8 s", "12 s", "3 min 20 s", "2 h 5 min".
std::string HumanSeconds(double seconds);
// "135 million", "7.2 billion".
std::string HumanCount(double count);

// The last part of a path.
std::string BaseName(std::string_view path);

}  // namespace halftone
