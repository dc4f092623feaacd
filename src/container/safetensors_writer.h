// Writing one .safetensors file: the header first, since all sizes are known, then the tensors'
// bytes in whatever order they come.
//
// As Hugging Face's library lays a file out: tensors with large elements first, then by name, so
// that each lies at a multiple of its element (torch refuses views that do not); the header lists
// them in this order, is compact JSON and padded with spaces so that the data begin at a multiple
// of 8. Parsing: safetensors_file.h.
//
// The file is not atomic by itself; the folder around it is (hf_folder_writer.h).

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "container/safetensors_file.h"

namespace halftone {

// A tensor that is going to lie in a file.
struct SafetensorsEntry {
  std::string name;
  const SafetensorsDtype* dtype = nullptr;
  std::vector<int64_t> shape;  // outermost first

  uint64_t bytes() const;
};

// Where everything will lie.
struct SafetensorsLayout {
  std::string head;               // the file up to the data
  std::vector<uint64_t> offsets;  // in the file, of each entry's data
  uint64_t file_bytes = 0;
};

// Throws Error (kUsage) for what the format cannot hold: names twice or not UTF-8, elements that
// are no whole bytes, headers above its limit.
SafetensorsLayout LayOutSafetensors(std::span<const SafetensorsEntry> entries,
                                    const std::map<std::string, std::string>& metadata);

class SafetensorsWriter {
 public:
  // Creates the file, which must not exist. Errors name `shown`, the path that it will have in the
  // end.
  SafetensorsWriter(const std::filesystem::path& path, std::string shown,
                    std::vector<SafetensorsEntry> entries,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Appends to the data of one entry; the entries may take turns. Throws Error (kUsage) for more
  // bytes than it has, kIo on a full disk.
  void Write(size_t entry, std::span<const uint8_t> bytes);

  // Flushes to the disk. All entries must be complete.
  void Finish();

 private:
  void WriteAt(uint64_t offset, std::span<const uint8_t> bytes);

  std::string shown_;
  std::vector<SafetensorsEntry> entries_;
  SafetensorsLayout layout_;
  std::vector<uint64_t> written_;  // bytes of each entry
  int fd_ = -1;
};

}  // namespace halftone
