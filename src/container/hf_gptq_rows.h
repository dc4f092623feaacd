// The blocks of a GPTQ layer's weight, made from the file when they are asked for.

#pragma once

#include "container/hf_gptq_layer.h"
#include "tensor/tensor.h"

namespace halftone {

// The weight [out, in], its inputs in the layer's order. On a grouped grid, or on the plain grid of
// the scales' type where no row of blocks could hold the groups (uneven ones, or groups that are no
// whole bytes): the products are rounded to that type anyway, so nothing is lost.
Tensor GptqWeight(GptqLayer layer);

}  // namespace halftone
