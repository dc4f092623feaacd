// One weight of a compressed-tensors checkpoint as its parts lie in the file, and the rows of
// blocks that are made of them.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "container/safetensors_file.h"
#include "grid/grouped.h"
#include "tensor/tensor.h"

namespace halftone {

// How the codes of a row lie.
enum class CtCodes : uint8_t {
  kStream,  // one after another from the lowest bit on, value + 2^(bits - 1)
  kWords,   // 32 / bits in each u32, which may leave bits unused; otherwise as kStream
  kSigned,  // signed bytes
  kFloat8,  // E4M3
  kFloat4,  // E2M1, two a byte, the first in the low half
};

struct CtWeight {
  std::string path;  // of the checkpoint, for messages
  int64_t rows = 0, cols = 0;
  CtCodes layout = CtCodes::kStream;
  int bits = 0;
  SafetensorsTensor codes;
  // Scale of weight [r, c]: number (r / row_block) * scale_cols + c / group, of any dtype that has
  // a type below.
  SafetensorsTensor scales;
  int64_t scale_cols = 0, row_block = 1, group = 1;
  bool whole_rows = false;  // by the scheme, not by chance
  // NVFP4 divides by it.
  std::optional<float> divisor;
  // Zero points where integers are asymmetric: signed bytes that lie as the scales do, or codes
  // packed as those of the weights are, but down each column of [rows, scale_cols].
  std::optional<SafetensorsTensor> zeros;
  bool zeros_packed = false;
  // The group of each column where that is not c / group (old act-order).
  std::vector<int32_t> group_of;

  // The type that values are rounded to.
  Real value() const;
};

// The tensor: on a grid of blocks (grid/grouped.h, or that of GGUF for MXFP4) where every group can
// be whole blocks, else as plain numbers, which are the same values. Columns are in an order of
// their own where group_of says so.
Tensor MakeCtTensor(std::string name, CtWeight weight);

}  // namespace halftone
