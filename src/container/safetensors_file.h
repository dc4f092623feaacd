// One .safetensors file, parsed strictly.
//
//   u64 N | N bytes of JSON | data
//   JSON = { "__metadata__"?: { string: string },
//            name: { "dtype": string, "shape": [integer ...], "data_offsets": [begin, end] } ... }
//
// Offsets count from the end of the JSON. Sorted by them, the tensors must tile the data without
// hole or overlap and end where the file ends. N is at most 100,000,000. Row-major, little-endian.
// Refused although the format's own library takes them: names that occur twice (it keeps the last),
// extents of 2^63 and more, and the spellings that its serializer allows by accident (a tensor as a
// list instead of an object). docs/formats/safetensors.md has the whole picture.
//
// Source: github.com/huggingface/safetensors.

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "grid/grid.h"

namespace halftone {

constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // N

struct SafetensorsDtype {
  std::string_view name;  // "BF16"
  int bits;               // of an element
  int gguf_type;          // the plain grid that holds the same bytes, or -1
};

// All dtypes of the format, and the one of a name (null where there is none).
std::span<const SafetensorsDtype> AllSafetensorsDtypes();
const SafetensorsDtype* FindSafetensorsDtype(std::string_view name);

struct SafetensorsTensor {
  std::string name;
  const SafetensorsDtype* dtype = nullptr;
  std::vector<int64_t>
      shape;  // outermost first; their product times dtype->bits is 8 * data.size()
  std::span<const uint8_t> data;
  std::shared_ptr<const void> owner;  // keeps `data` alive

  // The plain grid with this dtype's bytes; null where there is none (bytes, booleans, 8-bit
  // floats).
  const Grid* grid() const;
};

struct SafetensorsFile {
  std::string path;
  uint64_t file_bytes = 0;
  std::shared_ptr<const MappedFile> mapped;
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsTensor> tensors;  // in the order of their data
};

// Maps and validates the file; no tensor data is touched. Throws Error (kFormat) naming file,
// tensor and byte offset.
SafetensorsFile ReadSafetensors(const std::filesystem::path& path);

}  // namespace halftone
