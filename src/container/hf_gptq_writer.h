// Writing GPTQ checkpoints as GPTQModel's and vLLM's readers take them: symmetric ones in format
// "gptq" (what every reader knows), those with zeros of their own in format "gptq_v2" (in "gptq" a
// zero of 0 is lost in some readers). docs/formats/gptq.md.

#pragma once

#include "container/hf_folder_writer.h"

namespace halftone {

// Whether a tensor on this grid keeps its bits: integers of 2, 3, 4 or 8 bits whose scales and
// products are f16, and plain numbers.
bool CanStoreGptq(const Grid& grid);

// What the plan becomes. Throws Error (kUsage) for tensors that the format cannot hold.
HfFolderPlan LayOutGptq(const CheckpointPlan& plan);

}  // namespace halftone
