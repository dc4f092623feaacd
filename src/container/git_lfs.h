// Telling a model file from the stand-in that a clone without Git LFS leaves in its place: a common
// mistake whose other symptoms (a bad magic number, an absurd length) say nothing of the cause.
//
// Source: the pointer file specification of Git LFS.

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

namespace halftone {

inline bool IsGitLfsPointer(std::span<const uint8_t> bytes) {
  constexpr std::string_view kBegin = "version https://git-lfs";
  return bytes.size() >= kBegin.size() && std::ranges::equal(bytes.first(kBegin.size()), kBegin);
}

constexpr std::string_view kGitLfsPointerMessage =
    "is a Git LFS pointer instead of the file itself; fetch it with 'git lfs pull'";

}  // namespace halftone
