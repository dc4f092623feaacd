// Throwing halftone::Error with a formatted message.

#pragma once

#include <fmt/core.h>

#include "halftone/error.h"

namespace halftone {

// Throws Error(kind, formatted message). The message is one sentence without a final full stop,
// beginning with the file's path where a file is at fault.
template <class... Args>
[[noreturn]] void Fail(Error::Kind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::vformat(format, fmt::make_format_args(args...)));
}

template <class... Args>
[[noreturn]] void FailFormat(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kFormat, fmt::vformat(format, fmt::make_format_args(args...)));
}

template <class... Args>
[[noreturn]] void FailUsage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kUsage, fmt::vformat(format, fmt::make_format_args(args...)));
}

template <class... Args>
[[noreturn]] void FailUnsupported(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kUnsupported, fmt::vformat(format, fmt::make_format_args(args...)));
}

template <class... Args>
[[noreturn]] void FailIo(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kIo, fmt::vformat(format, fmt::make_format_args(args...)));
}

}  // namespace halftone
