// A file or folder that goes away with its owner.

#pragma once

#include <filesystem>
#include <system_error>
#include <utility>

namespace halftone {

class TemporaryFile {
 public:
  // With `keep` it stays.
  explicit TemporaryFile(std::filesystem::path path, bool keep = false)
      : path_(std::move(path)), keep_(keep) {}
  ~TemporaryFile() {
    std::error_code error;
    if (!keep_) std::filesystem::remove_all(path_, error);
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : path_(std::move(other.path_)), keep_(std::exchange(other.keep_, true)) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool keep_;
};

}  // namespace halftone
