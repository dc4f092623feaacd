// Writing the weights of bitsandbytes as transformers does: docs/formats/bitsandbytes.md.

#pragma once

#include "container/container.h"

namespace halftone {

bool CanStoreBnb(const Grid& grid);

uint64_t BnbBytes(const CheckpointPlan& plan);

// Throws Error (kUsage) for a plan that a folder of bitsandbytes cannot hold: 4 and 8 bits or nf4
// and fp4 in one model, columns in an order of their own.
std::unique_ptr<CheckpointWriter> CreateBnb(const std::filesystem::path& path,
                                            const CheckpointPlan& plan);

}  // namespace halftone
