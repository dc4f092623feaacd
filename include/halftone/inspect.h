// Looking into a model file without running it.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone {

struct TensorInfo {
  std::string name;
  // As its owner spells it, "Q4_K"; a safetensors dtype where nobody knows what the bytes mean.
  std::string grid;
  std::vector<int64_t> shape;  // outermost dimension first
  uint64_t bytes;
  double bits_per_weight;
};

struct MetadataInfo {
  std::string key;
  std::string type;   // "u32", "string", "array"
  std::string value;  // shortened
};

struct Inspection {
  std::string path;
  std::string container;
  std::string architecture;  // empty if the file does not say
  uint64_t file_bytes;
  uint64_t tensor_bytes;
  int64_t parameters;
  double bits_per_weight;  // tensor_bytes * 8 / parameters
  std::vector<MetadataInfo> metadata;
  std::vector<TensorInfo> tensors;
  // What the file is if it is no model, "LoRA adapter"; else empty.
  std::string kind;
  // What keeps the file from being used as a model, or is odd about it, and what can be done: one
  // sentence each.
  std::vector<std::string> notes;
};

// Opens any readable file or folder, also one whose weights are quantized in a way that is not
// read: its tensors are then listed as they lie in the files, and a note says so. Throws Error if
// it is broken.
Inspection Inspect(const std::string& path);

struct DecodedTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major
};

// The values of one tensor as f32, for any readable file, also of an unknown architecture. Throws
// Error (kUsage) naming the nearest tensor if there is none of that name.
DecodedTensor DecodeTensor(const std::string& path, const std::string& tensor);

// Writes numpy's .npy format (f32), atomically.
void WriteNpyFile(const std::string& path, const std::vector<int64_t>& shape,
                  const std::vector<float>& values);

}  // namespace halftone
