// A read-only, memory-mapped file.

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace halftone {

class MappedFile {
 public:
  // Maps the whole file. Throws Error (kIo) naming the path if it is missing, unreadable or no
  // regular file. An empty file maps to an empty span.
  static std::shared_ptr<const MappedFile> Open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const uint8_t> bytes() const { return bytes_; }

  // Gives back the pages of memory that reading has brought; what is read again comes anew, from the
  // system's cache or the disk. For whoever goes through a file that is larger than memory: pages
  // of a mapping count as the process's until somebody else needs them.
  void GiveBackPages() const;

 private:
  MappedFile(std::filesystem::path path, std::span<const uint8_t> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  std::filesystem::path path_;
  std::span<const uint8_t> bytes_;
};

// Reads a small text file (config.json and its like) whole. Throws Error (kIo) if it is missing or
// larger than `limit` bytes.
std::string ReadTextFile(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 30);

}  // namespace halftone
