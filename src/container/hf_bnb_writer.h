// Writing the weights of bitsandbytes as transformers does: docs/formats/bitsandbytes.md.

#pragma once

#include <array>
#include <span>
#include <vector>

#include "container/container.h"

namespace halftone {

bool CanStoreBnb(const Grid& grid);

uint64_t BnbBytes(const CheckpointPlan& plan);

// Throws Error (kUsage) for a plan that a folder of bitsandbytes cannot hold: 4 and 8 bits or nf4
// and fp4 in one model, columns in an order of their own.
std::unique_ptr<CheckpointWriter> CreateBnb(const std::filesystem::path& path,
                                            const CheckpointPlan& plan);

// ---- Double quantization (public for its test) ----

// bitsandbytes' 8-bit levels, ascending: for i = 0..6 the midpoints of 2^i intervals of [0.1, 1],
// times 10^(i - 6), with both signs; 0; 1.
const std::array<float, 256>& DynamicLevels();

inline constexpr int64_t kNestedBlock = 256;

// Scales as codes: offset is their mean, then each 256 share the largest magnitude.
struct NestedScales {
  std::vector<uint8_t> codes;
  std::vector<float> absmax;  // for each 256
  float offset = 0;
};
NestedScales QuantizeScales(std::span<const float> scales);

}  // namespace halftone
