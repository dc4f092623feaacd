// Which number a stored zero of a GPTQ checkpoint means.
//
// Format "gptq" (version 1, and what a checkpoint without the key is) stores zero - 1, format
// "gptq_v2" the zero itself. For 2, 4 and 8 bits GPTQModel subtracts from whole words, so a zero of
// 0 borrows from the next field; adding to whole words is its inverse. For 3 bits it works field by
// field, modulo 8.
//
// There are files whose label is wrong (versions of programs that changed one without the other),
// so the data go first:
//   symmetric checkpoints: the zeros are all 2^(bits - 1), so the stored fields tell by themselves;
//   others: weights are zero on average, to a small part of a step, so the mean of code - field
//   over some tens of thousands of weights is near 0 (version 2) or near 1 (version 1). Where it
//   clearly contradicts the label, the label loses. Not with 8 bits, whose steps are too small to
//   tell.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "container/hf_gptq_layer.h"

namespace halftone {

// The zero of group g and output o.
int GptqZero(const GptqLayer& layer, int64_t g, int64_t o);

// Sets `symmetric` and `zeros_less_one` of all layers. Reads the zeros and a few rows of codes.
void SettleZeros(const GptqSettings& settings, std::span<GptqLayer> layers);

}  // namespace halftone
