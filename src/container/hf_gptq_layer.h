// One linear layer P of a GPTQ checkpoint, its parts checked against one another and the settings:
//
//   P.qweight  I32 [in * bits / 32, out]    codes, packed along in
//   P.qzeros   I32 [groups, out * bits / 32] zeros, packed along out, one less in format "gptq"
//   P.scales   F16 | BF16 | F32 [groups, out]
//   P.g_idx    I32 [in]                      the group of each input; may be absent without
//   act-order
//
//   weight[o, i] = scale[g, o] * (code[i, o] - zero[g, o]),  g = g_idx[i], rounded to the scales'
//   type
//
// docs/formats/gptq.md has the whole picture.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "container/hf_parts.h"
#include "grid/grouped.h"

namespace halftone {

struct GptqSettings {
  std::string source;                 // the file, for messages
  std::optional<int64_t> bits;        // none: the shapes say it
  std::optional<int64_t> group_size;  // -1: the whole row; none: the shapes say it
  bool act_order = false;
  std::optional<bool> symmetric;
  bool zeros_less_one = true;  // format "gptq"; what the data say goes first (hf_gptq_zeros.h)
  bool varied = false;         // layers may differ from bits and group_size ("dynamic")
};

struct GptqLayer {
  std::string name;  // of the weight, P.weight
  int bits = 0;
  int64_t in = 0;
  int64_t out = 0;
  int64_t groups = 0;
  int64_t group = 0;       // inputs in a group; the last may be shorter
  bool whole_row = false;  // one group, by the settings
  Real real = Real::kF16;  // of scales and weights
  SafetensorsTensor qweight, qzeros, scales;
  // The group of each input; empty where it is input / group.
  std::vector<int32_t> group_of;
  // The inputs sorted by group. Null where they are so already, or where groups differ in size.
  std::shared_ptr<const std::vector<int32_t>> order;
  bool symmetric = false;       // all zeros are 2^(bits - 1)
  bool zeros_less_one = false;  // as stored

  int64_t group_at(int64_t input) const {
    return group_of.empty() ? input / group : group_of[static_cast<size_t>(input)];
  }
};

// `prefix` is P; P.qweight exists. Throws Error naming file and tensor. The zeros are left to
// SettleZeros.
GptqLayer ReadGptqLayer(HfParts& parts, const GptqSettings& settings, const std::string& prefix);

}  // namespace halftone
