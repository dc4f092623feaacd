// Telling a model file from what people have in its place: the stand-in of a clone without Git LFS,
// the web page that a download ended in, an archive, weights of another kind. The symptoms that a
// parser would report (a bad magic number, an absurd length) say nothing of the cause.
//
// Sources: the pointer file specification of Git LFS; the magic numbers of zip (APPNOTE 4.3.7),
// gzip (RFC 1952), xz, zstd (RFC 8878), HDF5, and of llama.cpp's files before GGUF.

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace halftone {

// What a file that begins so is, and what to do about it, to follow "<path>: "; empty if the bytes
// say nothing. Needs some 64 bytes of the beginning.
std::string_view ForeignFile(std::span<const uint8_t> begin);

// The same for a text.
std::string_view ForeignFile(std::string_view begin);

// The first 512 bytes of a file; fewer where it is shorter or cannot be read.
std::string BeginningOf(const std::filesystem::path& path);

}  // namespace halftone
