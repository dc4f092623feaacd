// quantization_config of compressed-tensors: how the weights of each group of modules are stored.
// docs/formats/compressed-tensors.md.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "container/hf_parts.h"

namespace halftone {

// Which weights share a scale.
enum class CtStrategy : uint8_t {
  kTensor,   // all
  kChannel,  // a row
  kGroup,    // group_size of a row
  kBlock,    // a rectangle
};

// The weights of one of the configuration's groups.
struct CtScheme {
  std::string name;  // "group_0"
  bool floats = false;
  int bits = 8;  // 1 .. 8
  bool symmetric = true;
  CtStrategy strategy = CtStrategy::kTensor;
  int64_t group_size = 0;                  // kGroup
  int64_t block_rows = 0, block_cols = 0;  // kBlock
};

// The groups that quantize weights, in the order of the file. Throws Error: kFormat for a broken
// configuration, kUnsupported for what changes the weights in a way that is not known here
// (sparsity, rotations, other formats).
std::vector<CtScheme> ReadCtSchemes(const HfParts& parts);

}  // namespace halftone
