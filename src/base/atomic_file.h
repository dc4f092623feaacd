// A file that appears whole or not at all.
//
// Bytes go to a temporary name in the target's folder; Commit() flushes and renames it over the
// target. Without Commit(), the destructor removes the temporary file, so an error or an interrupt
// leaves either the old file or none.

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace halftone {

class AtomicFile {
 public:
  // Creates the temporary file. Throws Error (kIo) if the folder does not exist or is read-only.
  explicit AtomicFile(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends bytes. Throws Error (kIo), naming the target, when the disk is full.
  void Write(std::span<const uint8_t> bytes);
  void Write(std::string_view text);

  // Bytes appended so far.
  uint64_t size() const { return size_; }

  // Flushes to the disk and closes: nothing may be written afterwards. For many files that get
  // their names together.
  void Finish();

  // Finishes, unless that is done, and gives the file its name.
  void Commit();

 private:
  void WriteOut(std::span<const uint8_t> bytes);
  void Flush();

  std::filesystem::path target_;
  std::filesystem::path temporary_;  // empty: it has its name
  std::vector<uint8_t> buffer_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

// Writes a whole small file atomically.
void WriteFile(const std::filesystem::path& target, std::string_view text);

}  // namespace halftone
