// One linear layer P of an AWQ checkpoint, its parts checked against one another and the settings.
//
//   gemm   P.qweight  I32 [in, out / 8]      word c of input i: outputs 8c ... 8c + 7
//          P.qzeros   I32 [groups, out / 8]  likewise
//          P.scales   F16 [groups, out]
//   gemv   P.qweight  I32 [out, in / 8]      word c of output o: inputs 8c ... 8c + 7
//          P.qzeros   I32 [out, zw]          word c of output o: groups 8c ... 8c + 7, then nothing
//          P.scales   F16 [out, 8 * zw]
//
//   weight[o, i] = (code - zero) * scale, rounded to f16
//
// In a word of "gemm" the four bits from 4n on hold output 8c + {0, 2, 4, 6, 1, 3, 5, 7}[n]; in
// "gemv" everything is in order. docs/formats/awq.md has the whole picture.

#pragma once

#include <optional>
#include <string>

#include "container/hf_parts.h"
#include "grid/scalar.h"

namespace halftone {

enum class AwqLayout : uint8_t { kGemm, kGemv };

struct AwqSettings {
  std::optional<int64_t> group_size;  // -1: the whole row; none: the shapes say it
  AwqLayout layout = AwqLayout::kGemm;
};

struct AwqLayer {
  std::string name;  // of the weight, P.weight
  AwqLayout layout = AwqLayout::kGemm;
  int64_t in = 0;
  int64_t out = 0;
  int64_t group = 0;
  bool whole_row = false;  // one group, by the settings
  Real real = Real::kF16;  // of scales and weights
  SafetensorsTensor qweight, qzeros, scales;

  int64_t groups() const { return in / group; }
};

// `prefix` is P; P.qweight exists. Throws Error naming file and tensor.
AwqLayer ReadAwqLayer(HfParts& parts, const AwqSettings& settings, const std::string& prefix);

// The weight [out, in], its blocks made from the file when they are asked for.
Tensor AwqWeight(AwqLayer layer);

}  // namespace halftone
