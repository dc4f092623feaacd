// What lies at a path that no container recognizes, in words: the reason is often a slip (the
// folder around the file, an archive, a web page), and the message can name the next step.

#pragma once

#include <filesystem>

namespace halftone {

// Throws Error (kUnsupported), which says what the file or folder is where that can be told.
[[noreturn]] void FailUnrecognized(const std::filesystem::path& path);

}  // namespace halftone
